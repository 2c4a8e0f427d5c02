"""What a block is: its convolutions in order, and how its input is added to their output. Data only, no Keras.

A kind of block is declared here once. Its Keras layers, parameters, MACs, flash, arena, elastic widths and cut-outs are
derived from the description; channel groups for pruning and twins for quantisation-aware training from the layers.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from odn_keras.errors import InputError
from odn_keras.networks.kernels import Filters

ACTIVATIONS = ("relu", "relu6", None)
SHORTCUTS = ("project", "identity", None)
MOST_CHANNELS = 64  # widths: more is a mistake
LARGEST_KERNEL, LARGEST_STRIDE = 15, 4

Kind = TypeVar("Kind")


@dataclass(frozen=True)
class Convolution:
    """A convolution with the batch normalization and the activation behind it.

    Attributes:
        channels: output channels as a multiple of the network's width; `None` for a depthwise convolution, which has
            those of its input.
        kernel: height and width of its filters, in pixels.
        stride: in both directions.
        depthwise: whether each channel is filtered for itself.
        activation: `"relu"`, `"relu6"` or `None`.

    Raises:
        InputError: for a value out of range.
    """

    channels: float | None = None
    kernel: int = 3
    stride: int = 1
    depthwise: bool = False
    activation: str | None = "relu"

    def __post_init__(self) -> None:
        if not isinstance(self.depthwise, bool):
            raise InputError(f"depthwise must be true or false, got {self.depthwise!r}")
        if self.depthwise:
            if self.channels is not None:
                raise InputError(
                    f"depthwise filters have the channels of their input: leave out channels {self.channels!r}"
                )
        elif not _is_number(self.channels) or not 0 < self.channels <= MOST_CHANNELS:  # type: ignore[operator]
            raise InputError(
                f"channels must be a multiple of the width, above 0 and up to {MOST_CHANNELS}, or left out with "
                f"depthwise, got {self.channels!r}"
            )
        for name, most in (("kernel", LARGEST_KERNEL), ("stride", LARGEST_STRIDE)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
                raise InputError(f"{name} must be a whole number from 1 to {most}, got {value!r}")
        _check_activation(self.activation)


@dataclass(frozen=True)
class Block:
    """The unit by which a network grows.

    Attributes:
        convolutions: in order.
        shortcut: `"project"`: the input is added to their output, through a 1x1 convolution where the shapes differ;
            `"identity"`: it is added where the shapes are equal; `None`: it is not added.
        activation: behind the addition, or behind the last convolution where nothing is added.

    Raises:
        InputError: for a value out of range.
    """

    convolutions: tuple[Convolution, ...]
    shortcut: str | None = "identity"
    activation: str | None = "relu"

    def __post_init__(self) -> None:
        object.__setattr__(self, "convolutions", tuple(self.convolutions))
        if not self.convolutions:
            raise InputError("convolutions must name at least one convolution, got none")
        if self.shortcut not in SHORTCUTS:
            raise InputError(f'shortcut must be "project", "identity" or null, got {self.shortcut!r}')
        _check_activation(self.activation)

    @property
    def stride(self) -> int:
        """By how much the block divides the resolution."""
        return math.prod(convolution.stride for convolution in self.convolutions)

    @property
    def keeps_channels(self) -> bool:
        """Whether all its convolutions are depthwise, so that it has the channels of its input."""
        return not self._channels

    @property
    def inner(self) -> tuple[float, ...]:
        """Channels inside the block, of all convolutions but the last that has its own, as multiples of the width."""
        return self._channels[:-1]

    def out(self, into: float) -> float:
        """Output channels as a multiple of the width, for so many input channels."""
        return self._channels[-1] if self._channels else into

    @property
    def _channels(self) -> tuple[float, ...]:
        return tuple(one.channels for one in self.convolutions if one.channels is not None)


@dataclass(frozen=True)
class Layer:
    """A convolution in a network of some width.

    Attributes:
        kernel: height and width of its filters, in pixels.
        stride: in both directions.
        into: input channels.
        channels: output channels.
        depthwise: whether each channel is filtered for itself.
        activation: as in `Convolution`.
    """

    kernel: int
    stride: int
    into: int
    channels: int
    depthwise: bool = False
    activation: str | None = None

    @property
    def filters(self) -> Filters:
        """Its filters, which its costs depend on."""
        return Filters(self.kernel**2, self.into, self.stride, self.depthwise)

    def after(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """(height, width, channels) of its output, for such an input."""
        return -(-shape[0] // self.stride), -(-shape[1] // self.stride), self.channels


def in_order(convolutions: Sequence[Convolution], into: int, channels: Sequence[int]) -> list[Layer]:
    """The convolutions in a network.

    Args:
        convolutions: one reads the other.
        into: channels of what the first reads.
        channels: output channels of those that are not depthwise.
    """
    own, layers = iter(channels), []
    for one in convolutions:
        out = into if one.depthwise else next(own)
        layers.append(Layer(one.kernel, one.stride, into, out, one.depthwise, one.activation))
        into = out
    return layers


def basic(channels: float, stride: int = 1) -> Block:
    """Two 3x3 convolutions: ResNet-18 and 34 (arXiv 1512.03385, section 4.1)."""
    return Block((Convolution(channels, stride=stride), Convolution(channels, activation=None)), shortcut="project")


def bottleneck(channels: float, stride: int = 1) -> Block:
    """1x1, 3x3 and 1x1 with four times the channels out: ResNet-50 (arXiv 1512.03385, section 4.1)."""
    return Block(
        (
            Convolution(channels, kernel=1),
            Convolution(channels, stride=stride),
            Convolution(4 * channels, kernel=1, activation=None),
        ),
        shortcut="project",
    )


def separable(channels: float, stride: int = 1) -> Block:
    """The basic block with depthwise separable convolutions (arXiv 1704.04861, section 3.1), added where they fit."""
    return Block(
        (
            Convolution(depthwise=True, stride=stride),
            Convolution(channels, kernel=1),
            Convolution(depthwise=True),
            Convolution(channels, kernel=1, activation=None),
        )
    )


def inverted_residual(channels: float, stride: int = 1, *, expanded: float | None = None) -> Block:
    """MobileNetV2's (arXiv 1801.04381, section 3.3): 1x1 to more channels, depthwise, 1x1 back, no activation behind.

    Args:
        channels: output channels, as a multiple of the width.
        stride: of the depthwise convolution.
        expanded: channels in between, as a multiple of the width; default: those of the input, without the first 1x1.
    """
    expansion = () if expanded is None else (Convolution(expanded, kernel=1, activation="relu6"),)
    depthwise = Convolution(depthwise=True, stride=stride, activation="relu6")
    return Block((*expansion, depthwise, Convolution(channels, kernel=1, activation=None)), activation=None)


def parse_convolution(value: Any, place: str) -> Convolution:
    """A convolution from its description as a dict, or itself.

    Raises:
        InputError: for a wrong description; it begins with the place.
    """
    return parse(Convolution, value, place, {})


def parse_block(value: Any, place: str) -> Block:
    """A block from its description as a dict, or itself.

    Raises:
        InputError: for a wrong description; it begins with the place.
    """

    def convolutions(given: Any, place: str) -> tuple[Convolution, ...]:
        return tuple(parse_convolution(one, f"{place}[{number}]") for number, one in enumerate(as_list(given, place)))

    return parse(Block, value, place, {"convolutions": convolutions})


def as_list(value: Any, place: str) -> Sequence[Any]:
    """The value where it is a list or tuple.

    Raises:
        InputError: where it is not; it begins with the place.
    """
    if not isinstance(value, list | tuple):
        raise InputError(f"{place} must be a list, got {value!r:.60}")
    return value


def parse(kind: type[Kind], value: Any, place: str, parts: Mapping[str, Callable[[Any, str], Any]]) -> Kind:
    """A `kind`, a dataclass, from its description as a dict, or itself.

    Args:
        kind: the class.
        value: the description.
        place: where it stands, for messages.
        parts: what reads the entries that have parts of their own; they must be there.

    Raises:
        InputError: for a wrong description; it begins with the place.
    """
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        raise InputError(f"{place} must be an object, got {value!r:.60}")
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if unknown := [name for name in value if name not in fields]:
        raise InputError(f"{place} has an unknown entry {unknown[0]!r}: choose from {', '.join(fields)}")
    read = {name: parts[name](given, f"{place}.{name}") if name in parts else given for name, given in value.items()}
    try:
        return kind(**read)
    except TypeError:
        raise InputError(f"{place} must have {next(iter(parts))}") from None
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_activation(activation: Any) -> None:
    if activation not in ACTIVATIONS:
        raise InputError(f'activation must be "relu", "relu6" or null, got {activation!r}')
