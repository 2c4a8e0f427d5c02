"""Packaging of odn_keras; see README.md for what each extra is for."""

import pathlib
import re

from setuptools import find_packages, setup

HERE = pathlib.Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "odn_keras/__init__.py").read_text()).group(1)

EXTRAS = {
    # Export to TFLite, TFDS datasets, and training on the TensorFlow backend.
    "tensorflow": [
        "tensorflow>=2.21,<2.22",
        "tensorflow-datasets==4.9.10",
        "importlib_resources",  # imported by tensorflow-datasets 4.9.10, which does not declare it
        "ai-edge-litert==2.3.0",
        "flatbuffers>=25",
        "cloudpickle>=3",
    ],
    "jax": ["jax>=0.10,<0.12"],
    "torch": ["torch==2.13.0"],
    # Quantisation-aware training, on the legacy Keras that tensorflow-model-optimization is built on.
    "qat": ["tensorflow-model-optimization==0.8.1", "tf_keras>=2.21,<2.22"],
    # What a microcontroller computes and how much memory it takes; a nightly build, there is no other.
    "micro": ["tflite-micro==0.dev20261023182759", "ai-edge-litert==2.3.0", "flatbuffers>=25"],
    # Arm's compiler for Ethos-U NPUs.
    "vela": ["ethos-u-vela==5.2.0"],
    # Android's image classifier; wants absl-py 2, tensorflow-model-optimization 1: not beside `qat`.
    "mediapipe": ["mediapipe==1.2.2"],
    # Runs a finished .tflite on a small Linux board; needs NumPy 1, so an environment of its own.
    "device": ["tflite-runtime==2.14.0", "numpy<2"],
    "dev": [
        "pytest>=9,<10",
        "pytest-xdist>=3.8,<4",
        "hypothesis>=6.150,<7",
        "tensorboard>=2.20,<3",
        "ruff==0.17.6",
        "mypy==2.4.1",
        "import-linter==2.17",
        "keras-tuner==1.4.8",
    ],
}

setup(
    name="odn_keras",
    version=VERSION,
    description="Finds the shallowest residual network good enough for a dataset and ships it as int8 TFLite.",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    packages=find_packages(include=["odn_keras", "odn_keras.*"]),
    python_requires=">=3.11",
    install_requires=[
        "keras>=3.15.1,<3.16",
        "absl-py>=1.4",
        "filelock>=3.20",
        "numpy>=1.26",
        "opencv-python-headless>=4.10,<6",
        "scipy>=1.14",
        "pillow>=11",
        "matplotlib>=3.10",
        "scikit-learn>=1.6",
        "psutil>=6",
    ],
    extras_require=EXTRAS,
)
