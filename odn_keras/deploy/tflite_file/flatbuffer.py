"""Reads and writes `.tflite` files as objects of their schema, and brings a memory plan into them.

The plan is the metadata buffer `OfflineMemoryAllocation` (TFLite Micro's documentation, memory management);
`odn_keras.networks.memory_plan` makes it.
"""

import copy
import math
from collections.abc import Callable, Sequence

from odn_keras.errors import InputError
from odn_keras.networks.memory_plan import ALIGNMENT, Tensor, lifetimes, plan

METADATA = b"OfflineMemoryAllocation"
VERSION, SUBGRAPH = 0, 0
PLANNED_AT_RUN_TIME = -1


def strip_tensor_names(content: bytes) -> bytes:
    """Removes the names of inner tensors from an integer `.tflite` file, and adds a memory plan for TFLite Micro.

    The file computes what it computed before, in every runtime.

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


def plan_of(model) -> list[int] | None:
    """The offset of each tensor in the memory plan that a model brings; `None` where it brings none for all."""
    import numpy as np

    for entry in model.metadata or []:
        if entry.name == METADATA:
            numbers = np.asarray(model.buffers[entry.buffer].data, np.uint8).view("<i4")[3:].tolist()
            whole = len(numbers) == len(model.subgraphs[0].tensors)
            return numbers if whole and all(numbers[index] >= 0 for index in activations_of(model)) else None
    return None


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

    aligned = copy.copy(model)
    aligned.buffers = [_AlignedBuffer(buffer.data) for buffer in model.buffers]
    builder = flatbuffers.Builder(2**16)
    builder.Finish(aligned.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


class _AlignedBuffer:
    """Packs as the schema's `BufferT` does, which leaves the alignment of its bytes to chance."""

    def __init__(self, data: Sequence[int] | None):
        self._data = data

    def Pack(self, builder):  # noqa: N802 (the schema's name)
        import numpy as np
        from ai_edge_litert import schema_py_generated as schema

        content = np.asarray([] if self._data is None else self._data, np.uint8)
        if len(content):
            builder.Prep(ALIGNMENT, len(content))
            vector = builder.CreateNumpyVector(content)
        schema.BufferStart(builder)
        if len(content):
            schema.BufferAddData(builder, vector)
        return schema.BufferEnd(builder)


def _bytes(tensor) -> int:
    from ai_edge_litert import schema_py_generated as schema

    width = {schema.TensorType.INT8: 1, schema.TensorType.UINT8: 1, schema.TensorType.INT32: 4}[tensor.type]
    return width * math.prod(int(n) for n in tensor.shape)
