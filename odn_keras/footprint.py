"""What a network will take of a microcontroller, told from its spec without converting it: flash and arena.

The weights, their scales and the activations are counted; what the file format and TFLite Micro add for every operator
was fitted to real files and to TFLite Micro's own figures; `python -m benchmarks.footprint` compares.
"""

import re
from dataclasses import dataclass, field

from odn_keras.architectures import NetworkSpec
from odn_keras.deploy import memory
from odn_keras.errors import InputError

# Bytes of the int8 file besides weights: once, for each convolution and addition, for each channel and class (a scale
# of 4 and a zero point of 8 bytes, of the kernel and of the bias).
FILE, FILE_CONVOLUTION, FILE_ADDITION, FILE_CHANNEL = 1633, 358, 185, 24
# Bytes of the arena besides activations; for each channel and class a multiplier and a shift.
ARENA, ARENA_CONVOLUTION, ARENA_ADDITION, ARENA_CHANNEL = 1339, 248, 159, 8
# Bytes it takes while it plans, before the activations are there: more than these where they are small.
PLANNING, PLANNING_TENSOR, PLANNING_ACTIVATION = 272, 32, 40

UNITS = {"": 1, "B": 1, "KB": 1024, "MB": 1024**2}  # as makers of microcontrollers count


@dataclass
class _Graph:
    """The network as the converter makes it: BatchNorm folded, ReLU fused.

    Attributes:
        sizes: bytes of each activation; number 0 is the image.
        operators: the activations each one reads, and writes.
        channels: outputs of all convolutions and of the head.
        weights: bytes of all kernels and biases.
        macs: multiply-accumulates of all convolutions and of the head.
    """

    sizes: list[int]
    operators: list[tuple[list[int], list[int]]] = field(default_factory=list)
    channels: int = 0
    weights: int = 0
    macs: int = 0
    convolutions: int = 0
    additions: int = 0

    def add(self, inputs: list[int], size: int) -> int:
        """Appends an operator; returns the number of its output."""
        self.sizes.append(size)
        self.operators.append((inputs, [len(self.sizes) - 1]))
        return len(self.sizes) - 1

    def weigh(self, kernel: int, channels: int, pixels: int = 1) -> None:
        self.macs += kernel * channels * pixels
        self.weights += kernel * channels + 4 * channels
        self.channels += channels


def flash_bytes(spec: NetworkSpec, depth: int) -> int:
    """Predicted size of the int8 `.tflite` file.

    >>> flash_bytes(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    161705
    """
    graph = _graph(spec, depth)
    overhead = FILE + FILE_CONVOLUTION * graph.convolutions + FILE_ADDITION * graph.additions
    return graph.weights + overhead + FILE_CHANNEL * graph.channels


def arena_bytes(spec: NetworkSpec, depth: int) -> int:
    """Predicted size of the arena in TFLite Micro, with the memory plan and the portable kernels.

    >>> arena_bytes(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    156065
    """
    graph = _graph(spec, depth)
    when = memory.lifetimes(graph.operators, [0], [len(graph.sizes) - 1])
    tensors = [memory.Tensor(graph.sizes[index], *when[index]) for index in sorted(when)]
    overhead = ARENA + ARENA_CONVOLUTION * graph.convolutions + ARENA_ADDITION * graph.additions
    constants = 2 * graph.convolutions + 3  # kernels and biases, and the axes of the mean
    planning = PLANNING + PLANNING_TENSOR * (len(tensors) + constants) + PLANNING_ACTIVATION * len(tensors)
    activations = memory.arena_bytes(tensors, memory.plan(tensors))
    return max(activations, planning) + overhead + ARENA_CHANNEL * graph.channels


def macs(spec: NetworkSpec, depth: int) -> int:
    """Multiply-accumulates of one image, those that `odn_keras.cost.macs` counts in the network.

    >>> macs(NetworkSpec("resnet18", (28, 28, 1), num_classes=10), depth=2)
    116057728
    """
    return _graph(spec, depth).macs


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


def _graph(spec: NetworkSpec, depth: int) -> _Graph:
    spec.check_depth(depth)
    height, width, channels = spec.input_shape
    graph = _Graph([height * width * channels])

    def convolve(source: int, shape: tuple[int, int, int], kernel: int, filters: int, stride: int):
        height, width, channels = -(-shape[0] // stride), -(-shape[1] // stride), shape[2]
        graph.weigh(kernel * kernel * channels, filters, height * width)
        graph.convolutions += 1
        return graph.add([source], height * width * filters), (height, width, filters)

    x, shape = convolve(0, spec.input_shape, 3, spec.width, spec.stem_stride)
    for number, block in enumerate(spec.blocks[:depth], start=1):
        source, source_shape = x, shape
        for kernel, filters, stride in spec.convolutions(number):
            x, shape = convolve(x, shape, kernel, filters, stride)
        if shape != source_shape:
            source, _ = convolve(source, source_shape, 1, shape[2], block.stride)
        graph.additions += 1
        x = graph.add([x, source], shape[0] * shape[1] * shape[2])
    x = graph.add([x], shape[2])  # mean
    graph.weigh(shape[2], spec.num_classes)
    for _ in range(2):  # head and softmax
        x = graph.add([x], spec.num_classes)
    return graph
