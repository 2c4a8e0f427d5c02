"""Finds the shallowest residual network good enough for a dataset and ships it as int8 TFLite.

The public names are loaded on first use, so that `import odn_keras` costs nothing.
"""

import importlib
import sys

if sys.argv[:1] == ["-m"]:  # one of the commands is being started: from now on Ctrl-C is a word, not a traceback
    from odn_keras.utils import interrupts

    interrupts.end_with_a_word()

__version__ = "0.1.0"

_HOMES = {
    "NetworkSpec": "networks.architectures",
    "Budget": "networks.budget",
    "build": "networks.builder",
    "load": "networks.builder",
    "deepen": "networks.builder",
    "at_exit": "networks.builder",
    "spec_of": "networks.builder",
    "distill": "growing.distillation",
    "Distillation": "growing.distillation",
    "DepthGrowth": "growing.depth_growth",
    "ChannelPruning": "prune",
    "OptimallyDeepNetwork": "growing.optimally_deep_network",
    "Checkpoint": "growing.checkpoint",
    "Augmentation": "data.augmentation",
    "Batches": "data.batches",
    "EvaluationBatches": "data.batches",
    "InputError": "errors",
    "RunOptions": "runs.options",
    "run": "runs.run",
    "load_dataset": "data.datasets",
    "export_tflite": "deploy.convert.tflite",
    "export_qat": "deploy.convert.qat",
    "export_android": "deploy.android.rgb_file",
    "write_c_array": "deploy.micro.c_array",
    "LiteRTClassifier": "deploy.runtimes",
    "MicroClassifier": "deploy.micro.tflite_micro",
    "RoutedClassifier": "deploy.chain.routed_classifier",
    "measure_arena": "deploy.micro.tflite_micro",
    "open_classifier": "deploy.runtimes",
}
_MODULES = {"footprint": "networks.footprint", "prune": "prune"}
__all__ = sorted([*_HOMES, *_MODULES])


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"odn_keras.{_MODULES[name]}")
    if name not in _HOMES:
        raise AttributeError(f"module 'odn_keras' has no attribute {name!r}")
    return getattr(importlib.import_module(f"odn_keras.{_HOMES[name]}"), name)


def __dir__():
    return __all__
