"""The backbones: ordered lists of blocks. Those that come with the package, and a user's own.

A backbone is known by its name or, a user's own, by its description as JSON, which travels in specs and runs so that
they need neither the file nor the call that it came from.
"""

import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from odn_keras.errors import InputError
from odn_keras.networks import blocks
from odn_keras.networks.blocks import Block, Convolution, basic, bottleneck, inverted_residual, separable

MOST_BLOCKS, MOST_WIDTH = 256, 1024
STEM = Convolution(1)  # 3x3, with ReLU


@dataclass(frozen=True)
class Backbone:
    """An architecture without its width and depth.

    Depth d is the stem, the first d blocks, global average pooling and a dense head.

    Attributes:
        name: for messages and reports.
        blocks: in order.
        stem: the first convolution.
        width: what multiples of channels are multiples of, unless a run says otherwise.

    Raises:
        InputError: for a value out of range.
    """

    name: str
    blocks: tuple[Block, ...]
    stem: Convolution = STEM
    width: int = 64

    def __post_init__(self) -> None:
        object.__setattr__(self, "blocks", tuple(self.blocks))
        if not isinstance(self.name, str) or not self.name.isprintable() or not 1 <= len(self.name) <= 80:
            raise InputError(f"name must be a text of 1 to 80 characters, got {self.name!r:.60}")
        if not 1 <= len(self.blocks) <= MOST_BLOCKS:
            raise InputError(f"blocks must be 1 to {MOST_BLOCKS}, got {len(self.blocks)}")
        if self.stem.depthwise:
            raise InputError("stem must not be depthwise: it makes the first channels of the image")
        if isinstance(self.width, bool) or not isinstance(self.width, int) or not 1 <= self.width <= MOST_WIDTH:
            raise InputError(f"width must be a whole number from 1 to {MOST_WIDTH}, got {self.width!r}")

    @property
    def max_depth(self) -> int:
        """Number of blocks."""
        return len(self.blocks)

    @property
    def depthwise(self) -> bool:
        """Whether any of its convolutions is depthwise."""
        return any(one.depthwise for block in self.blocks for one in block.convolutions)

    def check_depth(self, depth: int | None) -> None:
        """Raises `InputError` where the backbone has no such depth; `None` is not checked."""
        if depth is not None and not 1 <= depth <= self.max_depth:
            raise InputError(f"{self.name} has depths 1 to {self.max_depth}, got {depth}")

    def out(self, number: int) -> float:
        """Output channels of block `number`, as a multiple of the width; those of the stem for 0."""
        channels = self.stem.channels
        assert channels is not None
        for block in self.blocks[:number]:
            channels = block.out(channels)
        return channels

    def adds(self, number: int) -> bool:
        """Whether block `number` has an addition."""
        shortcut = self.blocks[number - 1].shortcut
        return shortcut == "project" or (shortcut == "identity" and self._keeps_shape(number))

    def projects(self, number: int) -> bool:
        """Whether block `number` has a 1x1 convolution on its shortcut."""
        return self.blocks[number - 1].shortcut == "project" and not self._keeps_shape(number)

    def begins_stream(self, number: int) -> bool:
        """Whether the output of block `number` has channels of its own, and not those of its input.

        A stream is what additions join, and what depthwise convolutions hand on.
        """
        adds_input = self.adds(number) and not self.projects(number)
        return not (adds_input or self.blocks[number - 1].keeps_channels)

    def _keeps_shape(self, number: int) -> bool:
        block, into = self.blocks[number - 1], self.out(number - 1)
        return block.stride == 1 and block.out(into) == into


def _stages(kind: Callable[..., Block], counts: Sequence[int]) -> tuple[Block, ...]:
    """Blocks of consecutive stages; each stage doubles the channels, each but the first halves the resolution."""
    return tuple(
        kind(2**stage, stride=2 if stage and not number else 1)
        for stage, count in enumerate(counts)
        for number in range(count)
    )


# Of MobileNetV2's stages at width 32: channels, blocks, stride. Source: arXiv 1801.04381, table 2; the first two
# strides are 1, since the images are small, and there is no last 1x1 convolution, which would be most of the weights.
_MOBILENET_V2 = ((16, 1, 1), (24, 2, 1), (32, 3, 2), (64, 4, 2), (96, 3, 1), (160, 3, 2), (320, 1, 1))


def _mobilenet_v2() -> tuple[Block, ...]:
    made: list[Block] = []
    into = 1.0
    for channels, count, stride in _MOBILENET_V2:
        for number in range(count):
            expanded = 6 * into if made else None
            made.append(inverted_residual(channels / 32, stride=1 if number else stride, expanded=expanded))
            into = channels / 32
    return tuple(made)


# The ResNets of Optimally Deep Networks (arXiv 2510.10764, section on architectures) have a 3x3 stem and no
# max-pooling; ResNet-20 is that of arXiv 1512.03385, section 4.2, and ResNet-8 the same with one block a stage, both
# with projections. `ds_cnn` is ResNet-18 of depthwise separable convolutions.
BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone("resnet8", _stages(basic, (1, 1, 1)), width=16),
        Backbone("resnet18", _stages(basic, (2, 2, 2, 2))),
        Backbone("resnet20", _stages(basic, (3, 3, 3)), width=16),
        Backbone("resnet34", _stages(basic, (3, 4, 6, 3))),
        Backbone("resnet50", _stages(bottleneck, (3, 4, 6, 3))),
        Backbone("ds_cnn", _stages(separable, (2, 2, 2, 2))),
        Backbone("mobilenetv2", _mobilenet_v2(), stem=Convolution(1, activation="relu6"), width=32),
    )
}
_registered: dict[str, Backbone] = {}


def register_backbone(
    name: str,
    blocks: Iterable[Block | Mapping[str, Any]],
    *,
    stem: Convolution | Mapping[str, Any] = Backbone.stem,
    width: int = Backbone.width,
) -> Backbone:
    """Makes a backbone of one's own known by its name, in this process.

    Args:
        name: other than those of the package's backbones.
        blocks: in order, as `odn_keras.Block` or as dicts of its attributes.
        stem: the first convolution, as `odn_keras.Convolution` or as a dict of its attributes.
        width: what multiples of channels are multiples of, unless a run says otherwise.

    Returns:
        The backbone.

    Raises:
        InputError: for a wrong description; it names the place.

    >>> from odn_keras import Block, Convolution, NetworkSpec, footprint, register_backbone
    >>> separable = Block([Convolution(depthwise=True), Convolution(1, kernel=1, activation=None)])
    >>> smaller = Block([Convolution(depthwise=True, stride=2), Convolution(2, kernel=1)], shortcut=None)
    >>> mine = register_backbone("mine", [separable, smaller], width=16)
    >>> footprint.macs(NetworkSpec("mine", (32, 32, 3), num_classes=10), depth=2)
    1020224
    """
    backbone = _parse({"name": name, "blocks": list(blocks), "stem": stem, "width": width}, "backbone")
    _registered[name] = backbone
    return backbone


def difference(one: str, other: str) -> str:
    """Says how two backbones differ that `canonical` returned, by their names where that is enough."""
    names = find(one).name, find(other).name
    if names[0] != names[1]:
        return f"{names[0]}, not {names[1]}"
    return f"{names[0]} as it was, not as it is described now"


def canonical(backbone: Any) -> str:
    """What specs and options call a backbone: the name of the package's, the description of any other.

    Args:
        backbone: a name, the path of a `.json` file, a description as JSON, or a `Backbone`.

    Raises:
        InputError: for another value, or a wrong description; it names the place.
    """
    if isinstance(backbone, str | os.PathLike):
        text = os.path.expanduser(os.fspath(backbone))
        if text in BACKBONES:
            return text
        if text in _registered:
            backbone = _registered[text]
        elif text.startswith("{"):
            backbone = _from_json(text, "backbone")
        elif text.endswith(".json"):
            backbone = _from_json(_read(text), text)
        else:
            known = ", ".join((*BACKBONES, *_registered))
            raise InputError(f"unknown backbone {text!r}: choose one of {known}, or a .json file that describes one")
    if not isinstance(backbone, Backbone):
        raise InputError(f"backbone must be a name, a .json file or a Backbone, got {backbone!r:.60}")
    if BACKBONES.get(backbone.name) == backbone:
        return backbone.name
    return json.dumps(_without_defaults(backbone), separators=(", ", ": "))


@functools.lru_cache(maxsize=64)
def find(text: str) -> Backbone:
    """The backbone that `canonical` returned the name or the description of."""
    return BACKBONES[text] if text in BACKBONES else _from_json(text, "backbone")


def _read(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise InputError(f"the backbone {path} cannot be read ({reason})") from error


def _from_json(text: str, place: str) -> Backbone:
    try:
        described = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is no JSON ({error})") from error
    return _parse(described, place)


def _parse(described: Any, place: str) -> Backbone:
    if isinstance(described, Mapping) and "name" not in described:
        described = {**described, "name": pathlib.Path(place).stem}

    def parse_blocks(given: Any, place: str) -> tuple[Block, ...]:
        return tuple(
            blocks.parse_block(one, f"{place}[{number}]") for number, one in enumerate(blocks.as_list(given, place))
        )

    backbone = blocks.parse(Backbone, described, place, {"blocks": parse_blocks, "stem": blocks.parse_convolution})
    if backbone.name in BACKBONES:
        raise InputError(f"{place}: {backbone.name!r} is a backbone of the package: give yours another name")
    return backbone


def _without_defaults(value: Any) -> Any:
    """A description as JSON of a `Backbone` or a part of it, without what is as by default."""
    if isinstance(value, tuple):
        return [_without_defaults(one) for one in value]
    if not dataclasses.is_dataclass(value):
        return value
    fields = ((field, getattr(value, field.name)) for field in dataclasses.fields(value))
    return {field.name: _without_defaults(own) for field, own in fields if own != field.default}
