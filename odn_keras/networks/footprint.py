"""Predicts flash and arena of a network on a microcontroller, without converting it.

Networks that are not built yet are predicted from their spec, any other from its layers (`Footprint.of`).

The weights, their scales and the activations are counted; what the file format and TFLite Micro add for every operator
was fitted to real files and to TFLite Micro's own figures; `python -m benchmarks.footprint` compares.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from odn_keras.errors import InputError
from odn_keras.networks import memory_plan
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.blocks import Layer
from odn_keras.networks.kernels import REFERENCE, Filters, arena_difference, count_instructions, scratch_bytes

if TYPE_CHECKING:
    import keras

# Bytes of the int8 file besides weights: once, for each convolution and addition, for each channel and class (a scale
# of 4 and a zero point of 8 bytes, of the kernel and of the bias).
FILE, FILE_CONVOLUTION, FILE_ADDITION, FILE_CHANNEL = 1633, 358, 185, 24
# Bytes more where there are depthwise convolutions: once, and for each of them.
FILE_WITH_DEPTHWISE, FILE_DEPTHWISE = 104, 24
# Bytes of the arena besides activations; for each channel and class a multiplier and a shift.
ARENA, ARENA_CONVOLUTION, ARENA_ADDITION, ARENA_CHANNEL = 1339, 248, 159, 8
# Bytes it takes while it plans, before the activations are there: more than these where they are small.
PLANNING, PLANNING_TENSOR, PLANNING_ACTIVATION = 272, 32, 40

UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2}  # as makers of microcontrollers count


@dataclass
class Footprint:
    """The network as the converter makes it, BatchNorm folded and ReLU fused, and what it takes.

    Attributes:
        sizes: bytes of each activation; number 0 is the image.
        operators: the activations each one reads, and writes.
        channels: outputs of all convolutions and of the head.
        weights: bytes of all kernels and biases.
        macs: multiply-accumulates of all convolutions and of the head.
        additions: how many there are.
        blocks: for each residual block its operators, by number; of a spec's network only.
        filters: those of each convolution, by the number of its operator.
        kernels: one of `odn_keras.networks.kernels.KERNELS`, which run it.
    """

    sizes: list[int]
    operators: list[tuple[list[int], list[int]]] = field(default_factory=list)
    channels: int = 0
    weights: int = 0
    macs: int = 0
    additions: int = 0
    blocks: list[range] = field(default_factory=list)
    filters: dict[int, Filters] = field(default_factory=dict)
    kernels: str = REFERENCE

    def add(self, inputs: list[int], size: int) -> int:
        """Appends an operator; returns the number of its output."""
        self.sizes.append(size)
        self.operators.append((inputs, [len(self.sizes) - 1]))
        return len(self.sizes) - 1

    def weigh(self, kernel: int, channels: int, pixels: int = 1) -> None:
        """Counts the weights, MACs and channels of a layer whose filters have `kernel` weights each."""
        self.macs += kernel * channels * pixels
        self.weights += kernel * channels + 4 * channels
        self.channels += channels

    def convolve(self, source: int, filters: Filters, channels: int, pixels: int) -> int:
        """Appends a convolution with so many output channels, of so many pixels each."""
        self.weigh(filters.weights, channels, pixels)
        self.filters[len(self.operators)] = filters
        return self.add([source], pixels * channels)

    def join(self, sources: list[int]) -> int:
        """Appends an addition."""
        self.additions += 1
        return self.add(sources, self.sizes[sources[0]])

    def classify(self, source: int, channels: int, classes: int) -> int:
        """Appends a dense head with its softmax."""
        self.weigh(channels, classes)
        for _ in range(2):
            source = self.add([source], classes)
        return source

    @property
    def convolutions(self) -> int:
        """How many convolutions there are, depthwise ones included."""
        return len(self.filters)

    @property
    def flash_bytes(self) -> int:
        """Predicted size of the int8 `.tflite` file."""
        overhead = FILE + FILE_CONVOLUTION * self.convolutions + FILE_ADDITION * self.additions
        if depthwise := sum(filters.depthwise for filters in self.filters.values()):
            overhead += FILE_WITH_DEPTHWISE + FILE_DEPTHWISE * depthwise
        return self.weights + overhead + FILE_CHANNEL * self.channels

    @property
    def arena_bytes(self) -> int:
        """Predicted size of the arena in TFLite Micro, with the memory plan."""
        tensors = self._tensors()
        scratch = {operator: size for operator in self.filters if (size := self._scratch(operator))}
        activations = memory_plan.arena_bytes(tensors, memory_plan.plan(tensors), scratch)
        return max(activations, self.planning_bytes) + self.arena_overhead

    @property
    def arena_overhead(self) -> int:
        """Bytes of the arena besides activations, which add up over the operators."""
        overhead = ARENA + ARENA_CONVOLUTION * self.convolutions + ARENA_ADDITION * self.additions
        overhead += arena_difference(self.kernels, self.convolutions, self.additions)
        return overhead + ARENA_CHANNEL * self.channels

    @property
    def instructions(self) -> float:
        """Predicted instructions of an image on a Cortex-M, which add up over the operators."""
        written = sum(self.sizes[self.operators[operator][1][0]] for operator in self.filters)
        others = (read[0] for operator, (read, _) in enumerate(self.operators) if operator not in self.filters)
        return count_instructions(self.kernels, self.macs, written, sum(self.sizes[number] for number in others))

    @property
    def planning_bytes(self) -> int:
        """Bytes that TFLite Micro takes instead of activations while it plans."""
        activations = len(self.sizes)
        constants = 2 * self.convolutions + 3  # kernels and biases, and the axes of the mean
        return PLANNING + PLANNING_TENSOR * (activations + constants) + PLANNING_ACTIVATION * activations

    def kept_bytes(self) -> list[int]:
        """For each operator the bytes of activations and scratch that it needs: no arena has less than the most."""
        tensors = self._tensors()
        return [
            sum(tensor.aligned_size for tensor in tensors if tensor.first <= operator <= tensor.last)
            + memory_plan.aligned(self._scratch(operator))
            for operator in range(len(self.operators))
        ]

    def _scratch(self, operator: int) -> int:
        return scratch_bytes(self.filters[operator], self.kernels) if operator in self.filters else 0

    def _tensors(self) -> list[memory_plan.Tensor]:
        when = memory_plan.lifetimes(self.operators, [0], [len(self.sizes) - 1])
        return [memory_plan.Tensor(self.sizes[index], *when[index]) for index in sorted(when)]

    @classmethod
    def of(
        cls,
        network: "keras.Model",
        channels: "Callable[[keras.KerasTensor], int] | None" = None,
        kernels: str = REFERENCE,
    ) -> "Footprint":
        """The footprint of a network of one output, made of the layers that `odn_keras.build` uses.

        Args:
            network: functional.
            channels: how many of a tensor's channels there are to be; default: as many as it has.
            kernels: one of `odn_keras.networks.kernels.KERNELS`.

        >>> from odn_keras import build
        >>> Footprint.of(build(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)).flash_bytes
        161705
        """
        from keras import layers

        wide = channels or (lambda tensor: tensor.shape[-1])
        (image,) = network.inputs
        graph = cls([math.prod(image.shape[1:])], kernels=kernels)
        numbers = {id(image): 0}
        for layer in network.layers[1:]:
            sources = layer.input if isinstance(layer.input, list) else [layer.input]
            source, pixels = numbers[id(sources[0])], math.prod(layer.output.shape[1:-1])
            if isinstance(layer, layers.Conv2D | layers.DepthwiseConv2D):
                depthwise = isinstance(layer, layers.DepthwiseConv2D)
                filters = Filters(math.prod(layer.kernel_size), wide(layer.input), max(layer.strides), depthwise)
                number = graph.convolve(source, filters, wide(layer.output), pixels)
            elif isinstance(layer, layers.Add):
                number = graph.join([numbers[id(tensor)] for tensor in sources])
            elif isinstance(layer, layers.GlobalAveragePooling2D):
                number = graph.add([source], wide(layer.output))
            elif isinstance(layer, layers.Dense):
                number = graph.classify(source, wide(layer.input), wide(layer.output))
            else:
                number = source
            numbers[id(layer.output)] = number
        return graph


def flash_bytes(spec: NetworkSpec, depth: int) -> int:
    """Predicted size of the int8 `.tflite` file.

    >>> flash_bytes(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    161705
    """
    return of_spec(spec, depth).flash_bytes


def arena_bytes(spec: NetworkSpec, depth: int, kernels: str = REFERENCE) -> int:
    """Predicted size of the arena in TFLite Micro, with the memory plan.

    Args:
        spec: the architecture.
        depth: of the network.
        kernels: `"reference"`, the portable ones on a 64-bit computer (a 32-bit processor takes about 1 KB less), or
            `"cmsis_nn"`, those of CMSIS-NN on a 32-bit Cortex-M.

    >>> arena_bytes(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    156065
    >>> arena_bytes(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2, kernels="cmsis_nn")
    157500
    """
    return of_spec(spec, depth, kernels).arena_bytes


def macs(spec: NetworkSpec, depth: int) -> int:
    """Multiply-accumulates of one image, those that `odn_keras.networks.cost.macs` counts in the network.

    >>> macs(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    116057728
    """
    return of_spec(spec, depth).macs


def parse_bytes(text: str) -> int:
    """A number of bytes, with or without unit; a KB is 1,024 bytes.

    Raises:
        InputError: for anything else.

    >>> parse_bytes("256KB"), parse_bytes("1.5 MB"), parse_bytes("1000")
    (262144, 1572864, 1000)
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?) ?(B|KB|MB)?", text.strip(), re.IGNORECASE | re.ASCII)
    number = float(match[1]) * UNITS[(match[2] or "").upper()] if match else 0
    if not 1 <= number < 2**40:
        raise InputError(f"give a number of bytes such as 262144, 256KB or 1MB, got {text!r}")
    return int(number)


def of_spec(spec: NetworkSpec, depth: int, kernels: str = REFERENCE) -> Footprint:
    """The footprint of the network of that depth, run by those kernels.

    Raises:
        InputError: where the backbone has no such depth.
    """
    spec.check_depth(depth)
    graph = Footprint([math.prod(spec.input_shape)], kernels=kernels)

    def convolve(source: int, shape: tuple[int, int, int], layer: Layer) -> tuple[int, tuple[int, int, int]]:
        shape = layer.after(shape)
        return graph.convolve(source, layer.filters, layer.channels, shape[0] * shape[1]), shape

    x, shape = convolve(0, spec.input_shape, spec.stem())
    for number in range(1, depth + 1):
        first = len(graph.operators)
        source, source_shape = x, shape
        for layer in spec.convolutions(number):
            x, shape = convolve(x, shape, layer)
        if projection := spec.projection(number):
            source, _ = convolve(source, source_shape, projection)
        if spec.adds(number):
            x = graph.join([x, source])
        graph.blocks.append(range(first, len(graph.operators)))
    x = graph.add([x], shape[2])  # mean
    graph.classify(x, shape[2], spec.num_classes)
    return graph
