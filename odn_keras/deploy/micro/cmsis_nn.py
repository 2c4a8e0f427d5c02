"""Predicts the arena of a file under the kernels of CMSIS-NN from that under TFLite Micro's portable ones."""

import os

from odn_keras.deploy.micro.operators import operators_of
from odn_keras.deploy.runtimes import read_file
from odn_keras.deploy.tflite_file.flatbuffer import activations_of, plan_of
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.networks import memory_plan
from odn_keras.networks.kernels import CMSIS_NN, Filters, arena_difference, scratch_bytes
from odn_keras.networks.memory_plan import ALIGNMENT

HEAD = {"MEAN", "FULLY_CONNECTED", "SOFTMAX"}  # of the files that the difference was fitted to


def arena_with_cmsis_nn(path: str | os.PathLike, arena_bytes: int) -> int:
    """Predicts the arena of an int8 file with CMSIS-NN on a 32-bit Cortex-M; a multiple of 16 bytes.

    Convolutions and average pooling take scratch memory while they run: in the gaps of the file's memory plan, or
    behind it. Operators that `odn_keras.build` makes no networks of may take more.

    Args:
        path: of the file.
        arena_bytes: its arena with the portable kernels on a 64-bit computer, as `measure_arena` finds it.
    """
    graph = Graph(read_file(path))
    tensors, offsets = activations_of(graph.model), plan_of(graph.model)
    scratch = scratch_of(graph)
    more = max(map(memory_plan.aligned, scratch.values()), default=0)
    if offsets:
        known, placed = list(tensors.values()), [offsets[index] for index in tensors]
        more = memory_plan.arena_bytes(known, placed, scratch) - memory_plan.arena_bytes(known, placed)
    kinds = [kind for kind in map(graph.name, graph.operators) if kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD")]
    additions = kinds.count("ADD")
    if set(operators_of(graph)) >= HEAD:
        more += arena_difference(CMSIS_NN, len(kinds) - additions, additions)
    return -(-(arena_bytes + more) // ALIGNMENT) * ALIGNMENT


def scratch_of(graph: Graph) -> dict[int, int]:
    """Bytes of scratch that CMSIS-NN takes for each operator that takes any, by its number."""
    found = {}
    for operator in graph.operators:
        kind = graph.name(operator)
        if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            source, weights = graph.reads(operator)[:2]
            _, height, width, _ = graph.shape(weights)
            options = graph.options(operator)
            stride = max(options.strideH, options.strideW)
            filters = Filters(height * width, graph.shape(source)[-1], stride, kind == "DEPTHWISE_CONV_2D")
            found[operator] = scratch_bytes(filters, CMSIS_NN)
        elif kind == "AVERAGE_POOL_2D":
            found[operator] = 4 * graph.shape(graph.reads(operator)[0])[-1]
    return {operator: size for operator, size in found.items() if size}
