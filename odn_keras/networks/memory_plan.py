"""Plans where each activation of a network lies in a microcontroller's memory.

TFLite Micro puts a network's activations into one block of memory, the arena, and places them itself unless the file
brings a plan (`odn_keras.deploy.tflite_file.flatbuffer` writes it). Its own planner takes up to a third more than need
be for residual networks.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

ALIGNMENT = 16  # bytes, of TFLite Micro


def aligned(size: int) -> int:
    """The bytes that so many take in the arena."""
    return -(-size // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class Tensor:
    """An activation: bytes, and the first and the last operator (by number) during which it must be kept."""

    size: int
    first: int
    last: int

    @property
    def aligned_size(self) -> int:
        """Bytes in the arena, whose activations are aligned."""
        return aligned(self.size)

    def lives_with(self, other: "Tensor") -> bool:
        """Whether there is an operator during which both are kept."""
        return self.first <= other.last and other.first <= self.last


def least_bytes(tensors: Sequence[Tensor]) -> int:
    """The lower bound of all plans: the most bytes that are kept during one operator.

    >>> least_bytes([Tensor(16, 0, 1), Tensor(16, 1, 2), Tensor(32, 2, 3)])
    48
    """
    moments = {tensor.first for tensor in tensors}
    return max((sum(t.aligned_size for t in tensors if t.first <= moment <= t.last) for moment in moments), default=0)


def plan(tensors: Sequence[Tensor]) -> list[int]:
    """The offset of each tensor, in bytes, such that no two that live together overlap, for a small arena.

    Tensors are placed one after the other, each as low as it fits; of several orders the best counts. The order by
    size, and among equals by time, is optimal where all large tensors are of one size, as within a stage of a ResNet.

    >>> plan([Tensor(16, 0, 1), Tensor(16, 1, 2), Tensor(32, 2, 3)])
    [0, 32, 0]
    """
    orders = (
        lambda tensor: (-tensor.size, tensor.first),
        lambda tensor: (tensor.first, -tensor.size),
        lambda tensor: (-tensor.size * (tensor.last - tensor.first + 1), tensor.first),
        lambda tensor: (-tensor.size, -tensor.first),
        lambda tensor: (-tensor.last, -tensor.size),
    )

    def placed(order) -> list[int]:
        return _place(tensors, sorted(range(len(tensors)), key=lambda index: order(tensors[index])))

    return min(map(placed, orders), key=lambda offsets: arena_bytes(tensors, offsets))


def arena_bytes(tensors: Sequence[Tensor], offsets: Sequence[int], scratch: Mapping[int, int] | None = None) -> int:
    """The end of the last tensor, or of scratch memory that lies between and behind the tensors.

    Args:
        tensors: that are planned.
        offsets: of each.
        scratch: bytes that an operator, by number, takes while it runs, where TFLite Micro finds the lowest gap.

    >>> tensors = [Tensor(32, 0, 1), Tensor(16, 1, 2)]
    >>> arena_bytes(tensors, [0, 32]), arena_bytes(tensors, [0, 32], {1: 16}), arena_bytes(tensors, [0, 32], {2: 16})
    (48, 64, 48)
    """
    ends = [offset + tensor.aligned_size for tensor, offset in zip(tensors, offsets, strict=True)]
    for operator, size in (scratch or {}).items():
        kept = [index for index, tensor in enumerate(tensors) if tensor.first <= operator <= tensor.last]
        ends.append(_gap(((offsets[index], ends[index]) for index in kept), aligned(size)) + aligned(size))
    return max(ends, default=0)


def _place(tensors: Sequence[Tensor], order: list[int]) -> list[int]:
    offsets = [0] * len(tensors)
    for count, index in enumerate(order):
        tensor = tensors[index]
        taken = (
            (offsets[other], offsets[other] + tensors[other].aligned_size)
            for other in order[:count]
            if tensors[other].lives_with(tensor)
        )
        offsets[index] = _gap(taken, tensor.aligned_size)
    return offsets


def _gap(taken: Iterable[tuple[int, int]], size: int) -> int:
    """The lowest offset at which so many bytes are free, of a memory where those from begin to end are taken."""
    offset = 0
    for begin, end in sorted(taken):
        if offset + size <= begin:
            break
        offset = max(offset, end)
    return offset


def lifetimes(
    operators: Sequence[tuple[Iterable[int], Iterable[int]]], inputs: Iterable[int], outputs: Iterable[int]
) -> dict[int, tuple[int, int]]:
    """The first and the last operator during which each activation must be kept.

    Args:
        operators: the tensors each one reads and writes, by number; those that nothing writes are weights.
        inputs: of the whole graph, which are there from the start.
        outputs: of the whole graph, which are kept to the end.

    >>> lifetimes([([0, 9], [1]), ([1, 0], [2])], inputs=[0], outputs=[2])
    {0: (0, 1), 1: (0, 1), 2: (1, 1)}
    """
    found = dict.fromkeys(inputs, (0, 0))
    for number, (read, written) in enumerate(operators):
        found |= {index: (found[index][0], number) for index in read if index in found}
        found |= dict.fromkeys(written, (number, number))
    return found | {index: (found[index][0], len(operators) - 1) for index in outputs}
