"""Writes an int8 network with exits as a chain of `.tflite` files, each of which continues where the last one ended.

The network is converted and quantised as a whole, and its graph is cut. So nothing is computed twice. One file hands
int8 features to the next, of the same scale and zero point on both sides, and every output equals that of the whole
network bit for bit.
"""

import math
import os
import pathlib
from collections.abc import Sequence

import keras
import numpy as np

from odn_keras.deploy.chain.routed_classifier import NO_INT8, PROBABILITY, Chain, int8_threshold
from odn_keras.deploy.convert.exportable import unwrapped
from odn_keras.deploy.convert.tflite import as_pixels, converted_with_exits
from odn_keras.deploy.micro.c_array import RESIZED, c_string
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.deploy.tflite_file.resize_metadata import resize_of
from odn_keras.errors import InputError
from odn_keras.files import replacing, replacing_files

STAGE = "stage{}.tflite"
WITHOUT_EXITS = "the network has no exit before its end: train with --exits=all, deeper than one block"

HEADER = """\
// Written by odn_keras; not to be edited.
#ifndef ODN_ROUTING_H_
#define ODN_ROUTING_H_

#include <cstddef>
#include <cstdint>

{headers}

// The stages in order, by the names of their namespaces and of their macros in capitals.
#define ODN_ROUTING_STAGES(STAGE) {listed}

namespace odn_routing {{

// Stages run in this order. Each but the last has two int8 outputs: 0, the probabilities, and 1, the features, which
// are the next one's input as they are. The image is stage 0's input: pixel p as the int8 number p - 128;
// training {resized} what had another shape.
constexpr int kStages = {stages};
constexpr const char* kFiles[kStages] = {{{files}}};
constexpr std::size_t kInputBytes[kStages] = {{{inputs}}};

// An image leaves after stage i if its largest int8 probability is >= kThresholds[i]. {never}: none does.
constexpr std::int16_t kThresholds[kStages] = {{{thresholds}}};

// probability = (int8 probability + 128) / 256
constexpr int kNumClasses = {classes};
constexpr const char* kLabels[kNumClasses] = {{
{labels}
}};

}}  // namespace odn_routing

#endif  // ODN_ROUTING_H_
"""


def export_chain(
    network: keras.Model, calibration_images: np.ndarray, folder: str | os.PathLike
) -> tuple[list[pathlib.Path], bytes]:
    """Writes `stage1.tflite`, `stage2.tflite` ... , each with its memory plan for TFLite Micro.

    Stage 1 takes int8 images as `export_tflite` has it, every other the features of the one before. All but the last
    give int8 probabilities and int8 features, in that order; the last gives probabilities. They are checked together
    as `export_tflite` checks a file.

    Args:
        network: a functional classifier of one image input and, as outputs, its exits and its end, the shallowest
            first, as `build` makes it from a spec with exits; or the `OptimallyDeepNetwork` that holds it.
        calibration_images: see `export_tflite`.
        folder: made if need be.

    Returns:
        The files, and the content of one of the end alone, of the same weights and scales.

    Raises:
        InputError: for a network without exits, or one that only one tensor does not join from exit to exit, or whose
            outputs are no probabilities; and as `export_tflite`.
    """
    network, folder = unwrapped(network), pathlib.Path(folder).expanduser()
    if len(network.outputs) < 2:
        raise InputError(WITHOUT_EXITS)
    whole, reference = converted_with_exits(network, calibration_images)
    names = [STAGE.format(number) for number in range(1, len(network.outputs) + 1)]
    with replacing_files(folder) as written:
        paths = [written / name for name in names]
        for path, content in zip(paths, split(whole), strict=True):
            path.write_bytes(content)
        reference.check_file(list(Chain(paths).predict_every_exit(as_pixels(network, reference.images))), "int8")
    return [folder / name for name in names], end_only(whole)


def split(whole: bytes) -> list[bytes]:
    """The files of the chain, from that of the whole network with all its exits.

    Raises:
        InputError: where the outputs are not behind each other, more than one tensor joins two stages, or an output is
            no int8 probability.
    """
    graph = Graph(whole)
    needed = {output: graph.ancestors(output) for output in graph.outputs}
    outputs = sorted(needed, key=lambda output: len(needed[output]))
    if any(graph.quantization(output) != (PROBABILITY.scale, PROBABILITY.zero_point) for output in outputs):
        raise InputError("every output of a network with exits must be a softmax: its outputs are no probabilities")
    pieces, done, entry = [], set[int](), graph.inputs[0]
    for number, output in enumerate(outputs):
        own = needed[output] - done
        done |= needed[output]
        later = set().union(*(needed[other] for other in outputs[number + 1 :])) - done
        handed = _handed_on(graph, done, later)
        if len(handed) != (1 if later else 0) or (handed and graph.maker(handed[0]) not in own):
            raise InputError(
                f"exit {number + 1} is not on the way to the next one by one tensor: it cannot be split off"
            )
        pieces.append(graph.cut(own, entry, [output, *handed]))
        entry = handed[0] if handed else entry
    return pieces


def _handed_on(graph: Graph, done: set[int], later: set[int]) -> list[int]:
    """The tensors that operators still to run read, and that exist once those of `done` have run."""
    read = {tensor for operator in later for tensor in graph.reads(operator)}
    return sorted(tensor for tensor in read if graph.maker(tensor) in done or tensor == graph.inputs[0])


def end_only(whole: bytes) -> bytes:
    """The file of the network's end, without its exits."""
    graph = Graph(whole)
    needed = {output: graph.ancestors(output) for output in graph.outputs}
    end = max(needed, key=lambda output: len(needed[output]))
    return graph.cut(needed[end], graph.inputs[0], [end])


def write_header(
    stages: Sequence[pathlib.Path], thresholds: Sequence[float], labels: Sequence[str], path: str | os.PathLike
) -> None:
    """Writes `routing.h`: all that a C++11 program needs to run the stages, in the namespace `odn_routing`.

    It includes the headers of the stages: see `odn_keras.deploy.micro.c_array.write_stage_array`.

    Args:
        stages: the files.
        thresholds: of each exit but the end.
        labels: the name of each class.
        path: of the header.
    """
    graphs = [Graph(stage.read_bytes()) for stage in stages]
    input_bytes = [math.prod(graph.shape(graph.inputs[0])) for graph in graphs]
    smallest = int8_threshold(0.0)  # at the end all leave
    names = [stage.stem for stage in stages]
    text = HEADER.format(
        resized=RESIZED[resize_of(stages[0])],
        headers="\n".join(f'#include "{name}.h"' for name in names),
        listed=" ".join(f"STAGE({name}, {name.upper()})" for name in names),
        stages=len(stages),
        files=", ".join(c_string(stage.name) for stage in stages),
        inputs=", ".join(map(str, input_bytes)),
        never=NO_INT8,
        thresholds=", ".join(str(number) for number in (*map(int8_threshold, thresholds), smallest)),
        classes=len(labels),
        labels=",\n".join(f"    {c_string(label)}" for label in labels),
    )
    with replacing(pathlib.Path(path).expanduser()) as temporary:
        temporary.write_text(text, encoding="ascii", newline="\n")
