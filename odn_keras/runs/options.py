"""The options of a run, each defined once for Python and the command line: name, default, allowed values, help."""

import dataclasses
import math
import numbers
import operator
import os
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from odn_keras.data.class_weights import NONE, check_class_weight
from odn_keras.data.presets import PRESETS
from odn_keras.data.resizing import RESIZES, STRETCH, write_size
from odn_keras.devices.boards import LIST, Wanted
from odn_keras.errors import InputError
from odn_keras.growing.cycle_length import default_cycle, leaves_second_cycle
from odn_keras.networks import backbones
from odn_keras.networks.backbones import BACKBONES
from odn_keras.networks.budget import Budget
from odn_keras.networks.kernels import KERNELS
from odn_keras.utils.help_pages import Group
from odn_keras.utils.metric_names import ACCURACY, METRIC_NAMES

FREE_TO_CHANGE = ("data_dir", "in_memory")  # they say where data are, not what the run does
PATHS = (
    "dataset",
    "data_dir",
    "teacher",
    "start_from",
    "continue_from",
    "device_file",
)  # in which ~ is the home folder
TARGET_ACCURACY = 0.98


def _option(
    default: Any,
    text: str,
    *,
    choices: Sequence[str | int] | None = None,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
) -> Any:
    bounds = {"least": least, "above": above, "most": most, "below": below}
    return dataclasses.field(default=default, metadata={"help": text, "choices": choices, **bounds})


_BOUNDS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "least": (operator.ge, "at least"),
    "above": (operator.gt, "above"),
    "most": (operator.le, "at most"),
    "below": (operator.lt, "below"),
}


_TYPES: dict[type, tuple[Any, str]] = {
    str: (str, "text"),
    bool: (bool, "true or false"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


def kind_of(option: dataclasses.Field[Any]) -> type:
    """The type of an option's values, besides `None`: str, bool, int or float."""
    return next(kind for kind in get_args(option.type) or (option.type,) if kind is not types.NoneType)


@dataclass(frozen=True)
class DataOptions:
    """The options of the data, equal to the arguments of `odn_keras.load_dataset`.

    Raises:
        InputError: for a value out of range.
    """

    dataset: str = _option("digits", "digits, a TFDS name (or svhn, emnist), a folder of images, or an .npz file.")
    data_dir: str | None = _option(None, "Where TensorFlow Datasets keeps its data; default: its own place.")
    image_size: str | None = _option(
        None, "Resize the images of a folder or TFDS set to so many pixels: 96 for a square, 96x64 for height x width."
    )
    resize: str = _option(
        STRETCH,
        "How to resize: stretch changes the proportions, crop takes the middle, pad adds black borders.",
        choices=RESIZES,
    )
    grayscale: bool = _option(False, "Read the images of a folder or TFDS set as one channel.")
    validation_images: int | None = _option(
        None, "Training images set aside to choose by; default: a sixth, at most 10,000.", least=1
    )
    train_images: int | None = _option(None, "Train on only so many images.", least=1)
    in_memory: bool | None = _option(
        None,
        "Hold the images in memory; default: where they take at most half of the free memory, else they are spooled "
        "to disk: beside the run while it is trained, else in the system's temporary folder (TMPDIR).",
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.name == "image_size":
                value = write_size(value)
            if isinstance(value, os.PathLike):
                value = os.fspath(value)
            if field.name in PATHS and isinstance(value, str):
                value = os.path.expanduser(value)
            if field.name == "continue_from" and isinstance(value, str):
                value = os.path.abspath(value)  # it is looked for again when the run is resumed
            self._check(field, value)
            object.__setattr__(self, field.name, value if value is None else kind_of(field)(value))

    @staticmethod
    def _check(field: dataclasses.Field[Any], value: Any) -> None:
        if value is None and (field.default is None or type(None) in get_args(field.type)):
            return
        kind, words = _TYPES[kind_of(field)]
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise InputError(f"{field.name} must be {words}, got {value!r}")
        choices = field.metadata["choices"]
        if choices and value not in choices:
            raise InputError(f"{field.name} must be one of {', '.join(map(str, choices))}, got {value!r}")
        if kind is numbers.Real and not math.isfinite(value):
            raise InputError(f"{field.name} must be a finite number, got {value}")
        for bound, (holds, words) in _BOUNDS.items():
            limit = field.metadata[bound]
            if limit is not None and not holds(value, limit):
                percent = bound in ("most", "below") and limit == 1 and 2 <= value <= 100
                hint = f": as a fraction, {value:g} % is {value / 100:g}" if percent else ""
                raise InputError(f"{field.name} must be {words} {limit}, got {value}{hint}")


@dataclass(frozen=True)
class RunOptions(DataOptions):
    """All options of a run: `odn_keras.run` takes them, and `python -m odn_keras.train` has a flag for each.

    Raises:
        InputError: for a value out of range.
    """

    backbone: str = _option(
        "resnet18", f"The network that is grown towards: {', '.join(BACKBONES)}, or a .json file that describes one."
    )
    width: int = _option(
        None,
        "Channels of the stem, which those of the blocks are multiples of; default: the backbone's own, 64 for "
        "resnet18.",
        least=1,
        most=1024,
    )
    start_from: str | None = _option(
        None,
        "A finished run's folder or a .keras file, of other classes or images: its stem and blocks are carried over as "
        "far as they fit, and growth begins at their depth.",
    )
    stem_stride: int = _option(1, "Stride of the stem; 2 quarters the activation memory.", choices=(1, 2))

    target_accuracy: float | None = _option(
        None,
        f"Validation accuracy to reach, or other --target_metric; default: {TARGET_ACCURACY}, with --depth none.",
        above=0,
        most=1,
    )
    target_metric: str = _option(
        ACCURACY,
        "What the target is of, and what depths and epochs are chosen by. For classes of unequal numbers of images: "
        "balanced_accuracy, the mean over the classes of what is recognised, or macro_f1, that of their F1.",
        choices=METRIC_NAMES,
    )
    class_weight: str = _option(
        NONE,
        "Weights of the classes in the loss: none; balanced, by which all classes count alike; or by name, as "
        "cat:3,dog:0.5.",
    )
    depth: int | None = _option(None, "Train the network of this depth and no other, instead of growing one.")
    max_depth: int | None = _option(None, "Deepest network tried; default: the whole backbone.")
    max_flash: str | None = _option(
        None, "Bytes the int8 file may have, as 256KB: the network grows no deeper, and is made smaller if need be."
    )
    max_arena: str | None = _option(
        None, "Bytes of working memory it may need in TFLite Micro, as 64KB; it is kept as --max_flash is."
    )
    max_latency_ms: float | None = _option(
        None, "Milliseconds an image may take on the --device, as predicted; kept as --max_flash is.", above=0
    )
    device: str | None = _option(None, f"What is to run the network, for its limits; {LIST} lists those known.")
    device_file: str | None = _option(None, "A file of your own devices, in the form of odn_keras/devices/boards.toml.")
    reserved_flash: str | None = _option(
        None, "Bytes of the device's flash that are not for the model, as 96KB; default: as --device=list says."
    )
    reserved_ram: str | None = _option(
        None, "Bytes of its RAM that are not for the model, as 32KB; default: as --device=list says."
    )
    kernels: str | None = _option(
        None,
        "Kernels of TFLite Micro, on which arena and time depend; default: the device's, without one reference.",
        choices=KERNELS,
    )
    continue_from: str | None = _option(
        None,
        "The folder of a finished run, with whose network and depth this one begins, where the learning rate falls: "
        "for more epochs, or more images of the same classes. Its options hold unless others are given.",
    )
    epochs: int = _option(60, "Epochs of the whole run, at most.", least=1)
    cycle_epochs: int | None = _option(
        None,
        "Length of the learning-rate cycle, of which a deeper network leaves out what others made up for; default: "
        "a third of --epochs less --shrink_epochs, with --depth all of these, or half of them with --prune.",
        least=1,
    )
    freeze: str = _option(
        "none",
        "prefix: only the newest block and the head are trained in the first twentieth of a cycle after an expansion, "
        "150 steps at most; none: all.",
        choices=("prefix", "none"),
    )
    slack: float = _option(1.0, "How far forecasts are doubted, in deviations; 0 leaves a depth soonest.", least=0)

    exits: str | None = _option(
        None,
        "Depths that have a head of their own besides the network's end, as 2,4,6, or all: smaller networks for "
        "odn_keras.specialize.",
    )
    shrink_epochs: int = _option(
        0, "Of --epochs, how many at the end train smaller widths of the blocks too, for odn_keras.specialize.", least=0
    )
    prune: float = _option(
        0.0, "Fraction of the parameters to remove from the network found, by whole channels.", least=0, below=1
    )
    prune_streams: bool = _option(False, "Let --prune remove channels of residual streams too, besides inner ones.")
    teacher: str | None = _option(None, "A .keras classifier of the same images and classes to learn from as well.")
    alpha: float = _option(0.5, "Weight of the teacher's probabilities, for exits those of the end.", least=0, most=1)
    temperature: float = _option(
        2.0, "What the logits of teacher and student are divided by before they are compared.", above=0
    )
    exit_weight: float = _option(0.3, "Weight of every inner exit's loss, where that of the end counts 1.", above=0)

    batch_size: int = _option(128, "Images of a training step.", least=1)
    learning_rate: float = _option(0.1, "Peak learning rate of SGD with Nesterov momentum 0.9.", above=0)
    weight_decay: float = _option(0.005, "Decoupled weight decay (each step: times the learning rate).", least=0)
    label_smoothing: float | None = _option(
        None, "Probability spread over all classes; default: as --augment says.", least=0, below=1
    )
    augment: str = _option(
        "none",
        "Random changes of the training images; the options below override single ones. Digits and letters are never "
        "mirrored.",
        choices=tuple(PRESETS),
    )
    shift: float | None = _option(None, "Largest shift, in pixels.", least=0)
    rotate: float | None = _option(None, "Largest rotation, in degrees.", least=0, most=180)
    zoom: float | None = _option(None, "Largest relative change of size.", least=0, below=1)
    flip: bool | None = _option(None, "Mirror left and right.")
    brightness: float | None = _option(None, "Largest relative change of brightness.", least=0, most=1)
    contrast: float | None = _option(None, "Largest relative change of contrast.", least=0, most=1)
    saturation: float | None = _option(None, "Largest relative change of saturation.", least=0, most=1)
    hue: float | None = _option(None, "Largest turn of the colours, in degrees.", least=0, most=180)
    erase: float | None = _option(
        None, "Largest part of the area that is erased, in half of the images.", least=0, most=1
    )
    mixup: float | None = _option(None, "Alpha of mix-up, which blends two images.", least=0)
    cutmix: float | None = _option(None, "Alpha of cut-mix, which pastes a part of another.", least=0)
    seed: int = _option(0, "Decides on initial weights, shuffling and augmentation.", least=0, most=2**32 - 1)
    precision: str = _option(
        "auto",
        "auto: mixed_bfloat16 on TensorFlow and a CPU with such instructions, but not for depthwise convolutions; else "
        "float32.",
        choices=("auto", "float32", "mixed_bfloat16"),
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "backbone", backbones.canonical(self.backbone))
        if self.width is None:
            object.__setattr__(self, "width", self._structure.width)
        _ = self.budget  # raises where the limits cannot be
        check_class_weight(self.class_weight)
        for depth in (self.depth, self.max_depth):
            self._structure.check_depth(depth)
        if self.start_from is not None and self.continue_from is not None:
            raise InputError("start_from begins another network, continue_from continues one: give one of them")
        if self.depth is not None and self.max_depth not in (None, self.depth):
            raise InputError(f"depth is the only one that is trained, so leave max_depth ({self.max_depth}) out")
        if self.target_accuracy is None and self.depth is None:
            object.__setattr__(self, "target_accuracy", TARGET_ACCURACY)
        for depth in self.exit_depths:
            if not 1 <= depth <= self._deepest:
                raise InputError(f"exits must be depths from 1 to {self._deepest}, the deepest tried, got {depth}")
        if self.shrink_epochs >= self.epochs:
            raise InputError(f"shrink_epochs ({self.shrink_epochs}) must be less than epochs ({self.epochs})")
        growing = self.epochs - self.shrink_epochs
        if self.cycle_epochs is not None and self.cycle_epochs > growing:
            without = f" without shrink_epochs ({growing})" if self.shrink_epochs else f" ({growing})"
            raise InputError(f"cycle_epochs ({self.cycle_epochs}) must be at most epochs{without}")
        cycle = self.first_cycle
        if self.prune and not leaves_second_cycle(cycle, growing):
            raise InputError(
                f"prune needs a second cycle: cycle_epochs ({cycle}) must be at most half of the epochs ({growing})"
            )
        if self.prune_streams and not self.prune:
            raise InputError("prune_streams says what prune may remove: give prune as well")

    @property
    def budget(self) -> Budget:
        """The limits of the network, and the kernels that run it."""
        return Wanted.of(self).predicting_budget()

    @property
    def exit_depths(self) -> tuple[int, ...]:
        """The depths that `exits` lists."""
        if self.exits is None:
            return ()
        if self.exits == "all":
            return tuple(range(1, self._deepest + 1))
        try:
            return tuple(int(depth) for depth in self.exits.split(","))
        except ValueError:
            raise InputError(f"exits must be depths such as 2,4,6, or all, got {self.exits!r}") from None

    @property
    def first_cycle(self) -> int:
        """Epochs of the first learning-rate cycle: `cycle_epochs`, or its default."""
        growing = self.epochs - self.shrink_epochs
        default = default_cycle(growing, fixed_depth=self.depth is not None, pruning=bool(self.prune))
        return self.cycle_epochs or default

    @property
    def _structure(self) -> backbones.Backbone:
        return backbones.find(self.backbone)

    @property
    def backbone_name(self) -> str:
        """The name of the backbone, which `backbone` may describe instead."""
        return self._structure.name

    @property
    def depthwise(self) -> bool:
        """Whether the backbone has depthwise convolutions."""
        return self._structure.depthwise

    @property
    def _deepest(self) -> int:
        return self.depth or self.max_depth or self._structure.max_depth


GROUPS = (
    Group("folder", "Its folder", ("out", "resume", "overwrite", "tensorboard"), "--out=runs/mine --resume"),
    Group(
        "data",
        "The images",
        (
            "dataset", "data_dir", "image_size", "resize", "grayscale", "train_images", "validation_images",
            "in_memory",
        ),
        "--dataset=path/to/photos --image_size=96x64 --resize=crop",
    ),
    Group(
        "network",
        "The network that is grown towards",
        ("backbone", "width", "stem_stride", "start_from", "continue_from"),
        "--backbone=ds_cnn --width=16 --stem_stride=2",
    ),
    Group(
        "target",
        "What to reach, and how long to try",
        ("target_accuracy", "target_metric", "epochs", "depth", "max_depth"),
        "--target_accuracy=0.95 --epochs=30",
    ),
    Group(
        "device",
        "The device, and what it leaves for the network",
        (
            "device", "device_file", "reserved_flash", "reserved_ram", "max_flash", "max_arena", "max_latency_ms",
            "kernels",
        ),
        "--max_flash=256KB --max_arena=64KB",
    ),
    Group("growth", "How the depth is found", ("cycle_epochs", "slack", "freeze"), "--cycle_epochs=12 --slack=2"),
    Group(
        "smaller",
        "Smaller networks, and several from one training",
        ("prune", "prune_streams", "exits", "exit_weight", "shrink_epochs"),
        "--epochs=60 --prune=0.5",
    ),
    Group("teacher", "A teacher", ("teacher", "alpha", "temperature"), "--teacher=large.keras --alpha=0.7"),
    Group(
        "training",
        "How it is trained",
        ("batch_size", "learning_rate", "weight_decay", "label_smoothing", "class_weight", "seed", "precision"),
        "--batch_size=64 --learning_rate=0.05",
    ),
    Group(
        "augmentation",
        "Random changes of the training images",
        (
            "augment", "shift", "rotate", "zoom", "flip", "brightness", "contrast", "saturation", "hue", "erase",
            "mixup", "cutmix",
        ),
        "--augment=light --rotate=10",
    ),
    Group(
        "several",
        "Several devices, several machines",
        ("distribution", "coordinator", "num_processes", "process_id"),
        "--distribution=data_parallel",
    ),
)  # fmt: skip
"""The flags by subject, for `--help`; those that are no options of a run are the commands'."""
