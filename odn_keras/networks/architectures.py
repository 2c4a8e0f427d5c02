"""What a backbone is: an ordered list of residual blocks. Data only, no Keras.

Source of the three ResNets: Optimally Deep Networks (arXiv 2510.10764), section on architectures: a 3x3 stem and no
max-pooling, then residual blocks in order; depth d is the stem, the first d blocks, global average pooling and a head.
"""

from dataclasses import dataclass

from odn_keras.errors import InputError


@dataclass(frozen=True)
class BlockSpec:
    """One residual block.

    Attributes:
        kind: `"basic"` (two 3x3 convolutions) or `"bottleneck"` (1x1, 3x3, 1x1 with four times the channels out).
        multiplier: inner channels as a multiple of the network's width.
        stride: of the block's 3x3 convolution that halves the resolution (1 or 2).
    """

    kind: str
    multiplier: int
    stride: int

    @property
    def out_multiplier(self) -> int:
        """Output channels as a multiple of the network's width."""
        return self.multiplier * (4 if self.kind == "bottleneck" else 1)

    def inner(self, width: int) -> tuple[int, ...]:
        """Channels of the block's inner layers, those between its convolutions, in a network of that width."""
        return (self.multiplier * width,) * (2 if self.kind == "bottleneck" else 1)

    def convolutions(self, inner: tuple[int, ...], out: int) -> list[tuple[int, int, int]]:
        """(kernel size, filters, stride) of the block's convolutions in order, without its shortcut's.

        Args:
            inner: channels of the inner layers.
            out: channels of the block's output.
        """
        kernels, strides = ((1, 3, 1), (1, self.stride, 1)) if self.kind == "bottleneck" else ((3, 3), (self.stride, 1))
        return list(zip(kernels, (*inner, out), strides, strict=True))


def _stages(kind: str, counts: tuple[int, ...]) -> tuple[BlockSpec, ...]:
    """Blocks of consecutive stages; each stage doubles the channels, each but the first halves the resolution."""
    return tuple(
        BlockSpec(kind, 2**stage, stride=2 if stage > 0 and i == 0 else 1)
        for stage, count in enumerate(counts)
        for i in range(count)
    )


BACKBONES: dict[str, tuple[BlockSpec, ...]] = {
    "resnet18": _stages("basic", (2, 2, 2, 2)),
    "resnet34": _stages("basic", (3, 4, 6, 3)),
    "resnet50": _stages("bottleneck", (3, 4, 6, 3)),
}


@dataclass(frozen=True)
class NetworkSpec:
    """Everything that defines a network but its depth.

    Attributes:
        backbone: a key of `BACKBONES`.
        input_shape: (height, width, channels) of the images, in pixels.
        num_classes: outputs of the head, at least 2.
        width: channels of the stem; the stages have 1, 2, 4 and 8 times as many (bottlenecks: times four more).
        stem_stride: 1, or 2 to quarter the activation memory.
        input_scale: what the inputs are multiplied by inside the network; the default expects raw pixels 0..255.
        exits: depths at which a deeper network has a head of its own, besides the one at its end.
        inner: for each of the first blocks the channels of its inner layers, one for a basic block and two for a
            bottleneck, where they are others than the width says; `()` in it for a block as the width says.
        stream: channels of the first residual streams, where they are others than the width says. A stream is what
            additions join: the stem's with the blocks that add to it, and from each block that projects its shortcut
            a new one.

    Raises:
        InputError: for a value out of range.
    """

    backbone: str
    input_shape: tuple[int, int, int]
    num_classes: int
    width: int = 64
    stem_stride: int = 1
    input_scale: float = 1 / 255
    exits: tuple[int, ...] = ()
    inner: tuple[tuple[int, ...], ...] = ()
    stream: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        shape = tuple(int(number) for number in self.input_shape)
        if self.backbone not in BACKBONES:
            raise InputError(f"unknown backbone {self.backbone!r}: choose one of {', '.join(BACKBONES)}")
        if len(shape) != 3 or min(shape) < 1:
            raise InputError(f"input_shape must be (height, width, channels), got {shape}")
        if self.num_classes < 2:
            raise InputError(f"a classifier needs at least 2 classes, got {self.num_classes}")
        if self.width < 1:
            raise InputError(f"width must be at least 1, got {self.width}")
        if self.stem_stride not in (1, 2):
            raise InputError(f"stem_stride must be 1 or 2, got {self.stem_stride}")
        for depth in self.exits:
            if depth not in range(1, self.max_depth + 1):
                raise InputError(f"{self.backbone} can have exits at depths 1 to {self.max_depth}, got {depth!r}")
        # Specs that are equal compare equal, whether given by hand or read from JSON; the dataclass is frozen only
        # from here on.
        vars(self).update(
            input_shape=shape,
            exits=tuple(sorted(set(self.exits))),
            inner=tuple(tuple(int(number) for number in channels) for channels in self.inner),
            stream=tuple(int(number) for number in self.stream),
        )
        self._check_channels()

    def _check_channels(self) -> None:
        if len(self.inner) > self.max_depth:
            raise InputError(f"{self.backbone} has {self.max_depth} blocks, got inner channels of {len(self.inner)}")
        for number, (block, channels) in enumerate(zip(self.blocks, self.inner, strict=False), start=1):
            if channels and (len(channels) != len(block.inner(1)) or min(channels) < 1):
                raise InputError(
                    f"inner channels of block {number} of {self.backbone} are {len(block.inner(1))} "
                    f"numbers of at least 1, got {channels}"
                )
        streams = 1 + sum(map(self.projects, range(1, self.max_depth + 1)))
        if len(self.stream) > streams or min(self.stream, default=1) < 1:
            raise InputError(
                f"{self.backbone} has {streams} residual streams of at least 1 channel, got channels {self.stream}"
            )

    @property
    def blocks(self) -> tuple[BlockSpec, ...]:
        """The residual blocks of the full backbone."""
        return BACKBONES[self.backbone]

    @property
    def max_depth(self) -> int:
        """Number of residual blocks of the full backbone."""
        return len(self.blocks)

    def inner_channels(self, number: int) -> tuple[int, ...]:
        """Channels of the inner layers of block `number`, from 1."""
        given = self.inner[number - 1] if number <= len(self.inner) else ()
        return given or self.blocks[number - 1].inner(self.width)

    def out_channels(self, number: int) -> int:
        """Channels of the output of block `number`; those of the stem for 0."""
        stream = sum(map(self.projects, range(1, number + 1)))
        if stream < len(self.stream):
            return self.stream[stream]
        return self.width * self._out_multiplier(number)

    def projects(self, number: int) -> bool:
        """Whether block `number` has a 1x1 convolution on its shortcut."""
        return self.blocks[number - 1].stride != 1 or self._out_multiplier(number) != self._out_multiplier(number - 1)

    def _out_multiplier(self, number: int) -> int:
        return self.blocks[number - 1].out_multiplier if number else 1

    def convolutions(self, number: int) -> list[tuple[int, int, int]]:
        """(kernel size, filters, stride) of the convolutions of block `number`, from 1, without its shortcut's."""
        return self.blocks[number - 1].convolutions(self.inner_channels(number), self.out_channels(number))

    def exits_before(self, depth: int) -> tuple[int, ...]:
        """The exits that a network of that depth has besides its end, the shallowest first."""
        return tuple(place for place in self.exits if place < depth)

    def check_depth(self, depth: int) -> None:
        """Raises `InputError` where the backbone has no such depth."""
        if not 1 <= depth <= self.max_depth:
            raise InputError(f"{self.backbone} has depths 1 to {self.max_depth}, got {depth}")
