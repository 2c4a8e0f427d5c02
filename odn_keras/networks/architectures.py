"""`NetworkSpec`: everything that defines a network but its depth. Data only, no Keras."""

import operator
from dataclasses import dataclass

from odn_keras.errors import InputError
from odn_keras.networks import backbones
from odn_keras.networks.backbones import Backbone
from odn_keras.networks.blocks import Block, Layer, in_order


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that defines a network but its depth.

    Attributes:
        backbone: a name, or what else `backbones.canonical` takes; it is kept as that returns it.
        input_shape: (height, width, channels) of the images, in pixels.
        num_classes: outputs of the head, at least 2.
        width: what the backbone's multiples of channels are multiples of; default: the backbone's own.
        stem_stride: 1, or 2 to quarter the activation memory.
        input_scale: what the inputs are multiplied by inside the network; the default expects raw pixels 0..255.
        exits: depths at which a deeper network has a head of its own, besides the one at its end.
        inner: for each of the first blocks the channels of its inner layers (one for a basic block, two for a
            bottleneck), where they are others than the width says; `()` in it for a block as the width says.
        stream: channels of the first residual streams, where they are others than the width says. A stream is what
            additions join: the stem's with the blocks that add to it, and from each block that adds no such input a
            new one.

    Raises:
        InputError: for a value out of range.
    """

    backbone: str
    input_shape: tuple[int, int, int]
    num_classes: int
    width: int = None  # type: ignore[assignment]  # an int once it is made
    stem_stride: int = 1
    input_scale: float = 1 / 255
    exits: tuple[int, ...] = ()
    inner: tuple[tuple[int, ...], ...] = ()
    stream: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(int(number) for number in self.input_shape)
        backbone = backbones.canonical(self.backbone)
        width = backbones.find(backbone).width if self.width is None else operator.index(self.width)
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"input_shape must be (height, width, channels), got {shape}")
        if self.num_classes < 2:
            raise InputError(f"a classifier needs at least 2 classes, got {self.num_classes}")
        if width < 1:
            raise InputError(f"width must be at least 1, got {width}")
        if self.stem_stride not in (1, 2):
            raise InputError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        # Specs that are equal compare equal, whether given by hand or read from JSON; the dataclass is frozen only
        # from here on.
        vars(self).update(
            backbone=backbone,
            width=width,
            input_shape=shape,
            exits=tuple(sorted(set(self.exits))),
            inner=tuple(tuple(int(number) for number in channels) for channels in self.inner),
            stream=tuple(int(number) for number in self.stream),
        )
        for depth in self.exits:
            if depth not in range(1, self.max_depth + 1):
                raise InputError(f"{self.name} can have exits at depths 1 to {self.max_depth}, got {depth!r}")
        self._check_channels()

    def _check_channels(self) -> None:
        if len(self.inner) > self.max_depth:
            raise InputError(f"{self.name} has {self.max_depth} blocks, got inner channels of {len(self.inner)}")
        for number, (block, channels) in enumerate(zip(self.blocks, self.inner, strict=False), start=1):
            if channels and (len(channels) != len(block.inner) or min(channels) < 1):
                raise InputError(
                    f"inner channels of block {number} of {self.name} are {len(block.inner)} "
                    f"numbers of at least 1, got {channels}"
                )
        streams = len(self.streams)
        if len(self.stream) > streams or min(self.stream, default=1) < 1:
            raise InputError(
                f"{self.name} has {streams} residual streams of at least 1 channel, got channels {self.stream}"
            )

    @property
    def _structure(self) -> Backbone:
        return backbones.find(self.backbone)

    @property
    def name(self) -> str:
        """The name of the backbone."""
        return self._structure.name

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The blocks of the full backbone."""
        return self._structure.blocks

    @property
    def max_depth(self) -> int:
        """Number of blocks of the full backbone."""
        return self._structure.max_depth

    @property
    def streams(self) -> tuple[int, ...]:
        """The blocks that begin the residual streams, in order; 0 for the stem."""
        return (0, *filter(self._structure.begins_stream, range(1, self.max_depth + 1)))

    def inner_channels(self, number: int) -> tuple[int, ...]:
        """Channels of the inner layers of block `number`, from 1."""
        given = self.inner[number - 1] if number <= len(self.inner) else ()
        return given or tuple(map(self._channels, self.blocks[number - 1].inner))

    def out_channels(self, number: int) -> int:
        """Channels of the output of block `number`; those of the stem for 0."""
        stream = sum(map(self._structure.begins_stream, range(1, number + 1)))
        if stream < len(self.stream):
            return self.stream[stream]
        return self._channels(self._structure.out(number))

    def stem(self) -> Layer:
        """The first convolution."""
        stem = self._structure.stem
        stride = stem.stride * self.stem_stride
        return Layer(stem.kernel, stride, self.input_shape[2], self.out_channels(0), activation=stem.activation)

    def convolutions(self, number: int) -> list[Layer]:
        """The convolutions of block `number`, from 1, in order, without its shortcut's."""
        channels = (*self.inner_channels(number), self.out_channels(number))
        return in_order(self.blocks[number - 1].convolutions, self.out_channels(number - 1), channels)

    def projection(self, number: int) -> Layer | None:
        """The 1x1 convolution on the shortcut of block `number`; `None` where it has none."""
        if not self._structure.projects(number):
            return None
        return Layer(1, self.blocks[number - 1].stride, self.out_channels(number - 1), self.out_channels(number))

    def adds(self, number: int) -> bool:
        """Whether block `number` adds its input, projected or not, to the output of its convolutions."""
        return self._structure.adds(number)

    def writers(self, number: int) -> int:
        """How many convolutions write to the residual stream that block `number` ends in; for 0, the stem."""
        if number == 0:
            return 1
        return (not self.blocks[number - 1].keeps_channels) + (self.projection(number) is not None)

    def exits_before(self, depth: int) -> tuple[int, ...]:
        """The exits that a network of that depth has besides its end, the shallowest first."""
        return tuple(place for place in self.exits if place < depth)

    def check_depth(self, depth: int) -> None:
        """Raises `InputError` where the backbone has no such depth."""
        self._structure.check_depth(depth)

    def _channels(self, multiple: float) -> int:
        return max(1, int(multiple * self.width + 0.5))
