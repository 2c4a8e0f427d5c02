"""Finds the shallowest residual network good enough for a dataset and ships it as int8 TFLite.

The public names are loaded on first use, so that `import odn_keras` costs nothing.
"""

import importlib
import sys

if sys.argv[:1] == ["-m"]:  # one of the commands is being started: from now on Ctrl-C is a word, not a traceback
    from odn_keras import interrupts

    interrupts.end_with_a_word()

__version__ = "0.1.0"

_HOMES = {
    "NetworkSpec": "architectures",
    "Budget": "budget",
    "build": "builder",
    "load": "builder",
    "deepen": "builder",
    "at_exit": "builder",
    "spec_of": "builder",
    "distill": "distillation",
    "Distillation": "distillation",
    "DepthGrowth": "growing.depth_growth",
    "ChannelPruning": "prune",
    "OptimallyDeepNetwork": "model",
    "Checkpoint": "checkpoint",
    "Augmentation": "augmentation",
    "Batches": "batches",
    "EvaluationBatches": "batches",
    "InputError": "errors",
    "RunOptions": "options",
    "run": "training",
    "load_dataset": "data",
    "export_tflite": "deploy.tflite",
    "export_qat": "deploy.qat",
    "export_android": "deploy.android",
    "write_c_array": "deploy.c_array",
    "LiteRTClassifier": "deploy.runtimes",
    "MicroClassifier": "deploy.micro",
    "RoutedClassifier": "deploy.routed",
    "measure_arena": "deploy.micro",
    "open_classifier": "deploy.runtimes",
}
_MODULES = ("footprint", "prune")
__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"odn_keras.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'odn_keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"odn_keras.{_HOMES[name]}"), name)


def __dir__():
    return __all__
