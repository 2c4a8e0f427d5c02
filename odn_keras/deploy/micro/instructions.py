"""Predicts the instructions of an image on a Cortex-M from the operators of a file."""

import math
import os

from odn_keras.deploy.runtimes import read_file
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.networks import kernels as of_kernels

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


def instructions_of(path: str | os.PathLike, kernels: str) -> float:
    """Predicted instructions of an image; operators that are neither convolutions nor dense count what they read.

    Args:
        path: of an int8 file.
        kernels: one of `odn_keras.networks.kernels.KERNELS`.
    """
    graph = Graph(read_file(path))
    macs = outputs = others = 0
    for operator in graph.operators:
        kind, (source, *more) = graph.name(operator), graph.reads(operator)
        written = math.prod(graph.shape(graph.writes(operator)[0]))
        if kind in CONVOLUTIONS:
            height, width, into = graph.shape(more[0])[1:]
            macs += written * height * width * (into if kind == "CONV_2D" else 1)
            outputs += written
        else:
            others += math.prod(graph.shape(source))
            if kind == "FULLY_CONNECTED":
                macs += math.prod(graph.shape(more[0]))
    return of_kernels.instructions(kernels, macs, outputs, others)
