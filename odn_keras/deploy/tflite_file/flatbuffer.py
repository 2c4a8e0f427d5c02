"""Where each tensor lies in a microcontroller's memory, decided beforehand.

TFLite Micro puts a network's activations into one block of memory, the arena, and places them itself unless the file
brings a plan: the metadata buffer `OfflineMemoryAllocation` (TFLite Micro's documentation, memory management). Its own
planner takes up to a third more than need be for residual networks.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from odn_keras.errors import InputError

ALIGNMENT = 16  # bytes, of TFLite Micro
METADATA = b"OfflineMemoryAllocation"
VERSION, SUBGRAPH = 0, 0
PLANNED_AT_RUN_TIME = -1


@dataclass(frozen=True)
class Tensor:
    """An activation: bytes, and the first and the last operator (by number) during which it must be kept."""

    size: int
    first: int
    last: int

    @property
    def aligned_size(self) -> int:
        return -(-self.size // ALIGNMENT) * ALIGNMENT

    def lives_with(self, other: "Tensor") -> bool:
        return self.first <= other.last and other.first <= self.last


def least_bytes(tensors: Sequence[Tensor]) -> int:
    """What no plan can go below: the most bytes that live during one operator.

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


def arena_bytes(tensors: Sequence[Tensor], offsets: Sequence[int]) -> int:
    """The end of the last tensor."""
    return max((offset + tensor.aligned_size for tensor, offset in zip(tensors, offsets, strict=True)), default=0)


def _place(tensors: Sequence[Tensor], order: list[int]) -> list[int]:
    offsets = [0] * len(tensors)
    for count, index in enumerate(order):
        tensor = tensors[index]
        taken = sorted(
            (offsets[other], offsets[other] + tensors[other].aligned_size)
            for other in order[:count]
            if tensors[other].lives_with(tensor)
        )
        offset = 0
        for begin, end in taken:
            if offset + tensor.aligned_size <= begin:
                break
            offset = max(offset, end)
        offsets[index] = offset
    return offsets


def compact(content: bytes) -> bytes:
    """Prepares an integer `.tflite` file for a microcontroller: with a memory plan, and without names of inner tensors.

    It computes what it computed before, in every runtime.

    Args:
        content: of the file, as the converter makes it.

    Raises:
        InputError: where it is no `.tflite` file of one graph, or a float one.
    """
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(content)
    check_integer(model)
    (graph,) = model.subgraphs
    outer = {*graph.inputs, *graph.outputs}
    for index, tensor in enumerate(graph.tensors):
        if index not in outer:
            tensor.name = b""
    activations = activations_of(model)
    offsets = np.full(len(graph.tensors), PLANNED_AT_RUN_TIME, np.int32)
    offsets[list(activations)] = plan(list(activations.values()))
    _drop_metadata(model, lambda name: name != b"min_runtime_version")
    header = np.array([VERSION, SUBGRAPH, len(offsets)], np.int32)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = METADATA, len(model.buffers)
    buffer.data = np.concatenate([header, offsets]).astype("<i4").view(np.uint8)
    model.metadata.append(entry)
    model.buffers.append(buffer)
    return write_model(model)


def without_plan(content: bytes) -> bytes:
    """The file without its memory plan, which leaves the planning to TFLite Micro."""
    model = read_model(content)
    _drop_metadata(model, lambda name: name == METADATA)
    return write_model(model)


def _drop_metadata(model, is_dropped: Callable[[bytes], bool]) -> None:
    dropped = [entry for entry in model.metadata or [] if is_dropped(entry.name)]
    model.metadata = [entry for entry in model.metadata or [] if not is_dropped(entry.name)]
    for entry in dropped:
        model.buffers[entry.buffer].data = None
    needed = 1 + max(user.buffer for user in (*model.metadata, *model.subgraphs[0].tensors))
    del model.buffers[needed:]


def check_integer(model) -> None:
    """Raises `InputError` for a model with tensors that are no integers."""
    from ai_edge_litert.schema_py_generated import TensorType

    if any(t.type not in (TensorType.INT8, TensorType.UINT8, TensorType.INT32) for t in model.subgraphs[0].tensors):
        raise InputError("a microcontroller needs an integer file, this one computes in float: export it as int8")


def activations_of(model) -> dict[int, Tensor]:
    """The activations of a model of one graph, by their number among its tensors."""
    (graph,) = model.subgraphs
    found = lifetimes(
        [(operator.inputs, operator.outputs) for operator in graph.operators], graph.inputs, graph.outputs
    )
    return {index: Tensor(_bytes(graph.tensors[index]), *when) for index, when in found.items()}


def lifetimes(
    operators: Sequence[tuple[Iterable[int], Iterable[int]]], inputs: Iterable[int], outputs: Iterable[int]
) -> dict[int, tuple[int, int]]:
    """The first and the last operator during which each activation must be kept.

    Args:
        operators: the tensors each one reads and writes, by number; those that nothing writes are weights.
        inputs, outputs: of the whole graph; the inputs are there from the start, the outputs kept to the end.

    >>> lifetimes([([0, 9], [1]), ([1, 0], [2])], inputs=[0], outputs=[2])
    {0: (0, 1), 1: (0, 1), 2: (1, 1)}
    """
    found = dict.fromkeys(inputs, (0, 0))
    for number, (read, written) in enumerate(operators):
        found |= {index: (found[index][0], number) for index in read if index in found}
        found |= dict.fromkeys(written, (number, number))
    return found | {index: (found[index][0], len(operators) - 1) for index in outputs}


def read_model(content: bytes):
    """A `.tflite` file as objects of its schema.

    Raises:
        InputError: where it is no `.tflite` file of one graph.
    """
    from ai_edge_litert import schema_py_generated as schema

    try:
        if content[4:8] != b"TFL3":
            raise ValueError("it does not begin as one")
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
        if len(model.subgraphs) != 1:
            raise ValueError(f"it has {len(model.subgraphs)} graphs")
    except Exception as error:  # of flatbuffers, struct or NumPy, for damaged offsets
        raise InputError(f"not a readable .tflite file ({str(error).splitlines()[0] or error!r})") from error
    return model


def write_model(model) -> bytes:
    """The reverse, its buffers aligned as devices need them."""
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    class Aligned(schema.BufferT):
        def Pack(self, builder):
            data = None
            if self.data is not None and len(self.data):
                content = np.asarray(self.data, np.uint8).tobytes()
                builder.StartVector(1, len(content), ALIGNMENT)
                builder.head -= len(content)
                builder.Bytes[builder.head : builder.head + len(content)] = content
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

    for buffer in model.buffers:
        buffer.__class__ = Aligned
    builder = flatbuffers.Builder(2**16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _bytes(tensor) -> int:
    from ai_edge_litert import schema_py_generated as schema

    width = {schema.TensorType.INT8: 1, schema.TensorType.UINT8: 1, schema.TensorType.INT32: 4}[tensor.type]
    return width * math.prod(int(n) for n in tensor.shape)
