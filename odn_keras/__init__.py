"""Finds the shallowest residual network good enough for a dataset and ships it as int8 TFLite.

The public names are loaded on first use, so that `import odn_keras` costs nothing.
"""

import importlib
import sys
from typing import TYPE_CHECKING, Any

if sys.argv[:1] == ["-m"]:  # one of the commands is being started: from now on Ctrl-C is a word, not a traceback
    from odn_keras.utils import interrupts

    interrupts.end_with_a_word()

__version__ = "0.1.0"

if TYPE_CHECKING:  # for type checkers and editors, which do not follow `__getattr__`; tests/test_packaging.py compares
    from odn_keras import prune as prune
    from odn_keras.data.augmentation import Augmentation as Augmentation
    from odn_keras.data.batches import Batches as Batches
    from odn_keras.data.batches import EvaluationBatches as EvaluationBatches
    from odn_keras.data.datasets import load_dataset as load_dataset
    from odn_keras.deploy.android.rgb_file import export_android as export_android
    from odn_keras.deploy.chain.routed_classifier import RoutedClassifier as RoutedClassifier
    from odn_keras.deploy.convert.qat import export_qat as export_qat
    from odn_keras.deploy.convert.tflite import export_tflite as export_tflite
    from odn_keras.deploy.micro.c_array import write_c_array as write_c_array
    from odn_keras.deploy.micro.tflite_micro import MicroClassifier as MicroClassifier
    from odn_keras.deploy.micro.tflite_micro import measure_arena as measure_arena
    from odn_keras.deploy.runtimes import LiteRTClassifier as LiteRTClassifier
    from odn_keras.deploy.runtimes import open_classifier as open_classifier
    from odn_keras.errors import InputError as InputError
    from odn_keras.growing.checkpoint import Checkpoint as Checkpoint
    from odn_keras.growing.depth_growth import DepthGrowth as DepthGrowth
    from odn_keras.growing.distillation import Distillation as Distillation
    from odn_keras.growing.distillation import distill as distill
    from odn_keras.growing.optimally_deep_network import OptimallyDeepNetwork as OptimallyDeepNetwork
    from odn_keras.networks import footprint as footprint
    from odn_keras.networks.architectures import NetworkSpec as NetworkSpec
    from odn_keras.networks.backbones import register_backbone as register_backbone
    from odn_keras.networks.blocks import Block as Block
    from odn_keras.networks.blocks import Convolution as Convolution
    from odn_keras.networks.budget import Budget as Budget
    from odn_keras.networks.builder import at_exit as at_exit
    from odn_keras.networks.builder import build as build
    from odn_keras.networks.builder import deepen as deepen
    from odn_keras.networks.builder import load as load
    from odn_keras.networks.builder import spec_of as spec_of
    from odn_keras.prune import ChannelPruning as ChannelPruning
    from odn_keras.runs.options import RunOptions as RunOptions
    from odn_keras.runs.run import run as run

_HOMES = {
    "NetworkSpec": "networks.architectures",
    "Block": "networks.blocks",
    "Convolution": "networks.blocks",
    "register_backbone": "networks.backbones",
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

if not TYPE_CHECKING:  # else every name would be taken for one of the package's

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"odn_keras.{_MODULES[name]}")
        if name not in _HOMES:
            raise AttributeError(f"module 'odn_keras' has no attribute {name!r}")
        return getattr(importlib.import_module(f"odn_keras.{_HOMES[name]}"), name)

    def __dir__() -> list[str]:
        return __all__
