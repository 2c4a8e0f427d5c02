"""Measures the latency of int8 files and of the parts of a network in LiteRT, or has Vela estimate it for Ethos-U."""

import itertools
import os
import pathlib
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import metadata

import keras
import numpy as np

from odn_keras.deploy.chain.exit_chain import end_only, split
from odn_keras.deploy.convert.tflite import MIN_CALIBRATION_IMAGES, int8_with_exits
from odn_keras.deploy.micro.vela import check_configuration, compile_for_ethos_u
from odn_keras.deploy.runtimes import open_interpreter
from odn_keras.deploy.tflite_file.graph import Graph
from odn_keras.devices.latency_table import LatencyTable, parts
from odn_keras.networks import builder, elastic
from odn_keras.networks.architectures import NetworkSpec

SECONDS, FEW_SECONDS = 20.0, 2.0  # of measuring all parts, and one file
TURN = 0.002  # seconds that a file is called again and again before it is another one's turn
LEAST_CALLS, LEAST_ROUNDS = 3, 5
CALL = "call"  # the name of a file of a single small operator: what every call takes


@dataclass(frozen=True)
class Whole:
    """Latency of a whole network beside that of its parts.

    Attributes:
        inner: channels of the inner layers of each block.
        sum_ms: of its parts.
        measured_ms: of its file.
    """

    inner: tuple[tuple[int, ...], ...]
    sum_ms: float
    measured_ms: float


def measure_table(
    spec: NetworkSpec,
    depth: int,
    *,
    vela: str | None = None,
    seconds: float = SECONDS,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[LatencyTable, list[Whole]]:
    """Measures every part that a network cut out of this one can have.

    Whole networks, each with one combination of fractions of width in all its blocks, are quantised and cut at the
    blocks' borders. Latency does not depend on the numbers: weights and calibration images are random.

    Args:
        spec: of the network that holds the others.
        depth: its number of residual blocks.
        vela: an Ethos-U configuration, for Vela's estimates instead of LiteRT's measured milliseconds.
        seconds: of measuring in LiteRT, all parts by turns.
        progress: called with a line for each step.

    Returns:
        The table, and as a check of it some whole networks, their files measured among the parts.

    Raises:
        InputError: where TensorFlow, LiteRT or Vela is missing.
    """
    if vela:
        check_configuration(vela)
    contents: dict[str, bytes] = {}
    wholes: dict[str, NetworkSpec] = {}
    combinations = list(_combinations(spec, depth))
    for number, (fractions, narrowed) in enumerate(combinations, start=1):
        progress(f"making the parts: {number} of {len(combinations)}")
        whole = _quantized(narrowed, depth)
        contents = _parts_of(whole, narrowed) | contents  # the first file of a part stays
        if len(set(fractions)) <= 1:
            wholes[f"whole {number}"] = narrowed
            contents[f"whole {number}"] = end_only(whole)
    with tempfile.TemporaryDirectory() as name:
        paths = {file: pathlib.Path(name, f"{number}.tflite") for number, file in enumerate(contents)}
        for file, path in paths.items():
            path.write_bytes(contents[file])
        if vela:
            found = {CALL: 0.0} | _estimated(paths, vela, progress)
            runtime, of = f"Vela {metadata.version('ethos-u-vela')}", vela
        else:
            progress(f"measuring {len(paths)} files for {seconds:g} seconds")
            found = dict(zip(paths, measure_latencies(list(paths.values()), seconds), strict=True))
            runtime, of = f"LiteRT {metadata.version('ai-edge-litert')}, one thread", machine()
    call = found.pop(CALL)
    parts_ms = {part: max(0.0, ms - call) for part, ms in found.items() if part not in wholes}
    table = LatencyTable(runtime=runtime, machine=of, vela=vela, call_ms=call, factor=1.0, parts_ms=parts_ms)
    checks = [
        Whole(narrowed.inner, table.milliseconds(narrowed, depth), found[name]) for name, narrowed in wholes.items()
    ]
    factor = statistics.median(whole.measured_ms / whole.sum_ms for whole in checks)
    return replace(table, factor=factor), checks


def describe(table: LatencyTable, checks: Sequence[Whole], depth: int) -> str:
    """A text about what `measure_table` returned; `depth` is that of the whole networks."""
    lines = [f"{table.runtime}, {table.machine}", f"{'ms':>10}  part"]
    lines += [f"{milliseconds:>10.4f}  {part}" for part, milliseconds in table.parts_ms.items()]
    lines += ["", f"whole networks of depth {depth}", f"{'ms':>10}{'sum of parts':>14}  inner channels"]
    for check in checks:
        inner = " ".join("+".join(map(str, channels)) for channels in check.inner)
        lines.append(f"{check.measured_ms:>10.4f}{check.sum_ms:>14.4f}  {inner}")
    return "\n".join(lines)


def measure_latencies(paths: Sequence[str | os.PathLike], seconds: float = FEW_SECONDS) -> list[float]:
    """Milliseconds of one call of each int8 file in LiteRT on one thread.

    The files take turns, for the speed of a machine that others use as well changes from second to second. Of each
    turn the fastest call counts, since what else the machine does only adds to it, and of these the median.

    Args:
        paths: of the files.
        seconds: in all; every file has a few turns even if that takes longer.

    Raises:
        InputError: where LiteRT is missing or cannot read a file.
    """
    calls = [_prepared(path) for path in paths]
    fastest: list[list[float]] = [[] for _ in calls]
    end, rounds = time.perf_counter() + seconds, 0
    while rounds < LEAST_ROUNDS or time.perf_counter() < end:
        rounds += 1
        for call, found in zip(calls, fastest, strict=True):
            call()  # what it reads comes back into the caches
            took: list[float] = []
            while len(took) < LEAST_CALLS or sum(took) < TURN:
                began = time.perf_counter()
                call()
                took.append(time.perf_counter() - began)
            found.append(min(took))
    return [1000 * float(np.median(found)) for found in fastest]


def machine() -> str:
    """The processor, as the system names it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _prepared(path: str | os.PathLike) -> Callable[[], None]:
    interpreter = open_interpreter(path)
    rng = np.random.default_rng(0)
    for details in interpreter.get_input_details():
        interpreter.set_tensor(details["index"], rng.integers(-128, 128, details["shape"]).astype(details["dtype"]))
    return interpreter.invoke


def _estimated(paths: dict[str, pathlib.Path], vela: str, progress: Callable[[str], None]) -> dict[str, float]:
    found = {}
    for number, (name, path) in enumerate(paths.items(), start=1):
        progress(f"Vela: {number} of {len(paths)}")
        if name != CALL:
            found[name] = compile_for_ethos_u(path, vela, path.with_suffix(".compiled")).milliseconds
    return found


def _combinations(spec: NetworkSpec, depth: int) -> Iterator[tuple[tuple[float, ...], NetworkSpec]]:
    """The network with each combination of fractions in the inner layers of a block, the same in all blocks.

    A block of fewer inner layers than others takes the first of the fractions, which come with the network.
    """
    whole = [spec.inner_channels(number) for number in range(1, depth + 1)]
    for fractions in itertools.product(elastic.FRACTIONS, repeat=max(map(len, whole))):
        inner = tuple(tuple(map(elastic.active_channels, channels, fractions)) for channels in whole)
        yield fractions, replace(spec, exits=tuple(range(1, depth)), inner=inner)


def _quantized(spec: NetworkSpec, depth: int) -> bytes:
    network = builder.build(spec, depth, "float32")
    rng = np.random.default_rng(0)
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            # Means of what they read: no layer is silent, and none drowns another.
            kernel = rng.uniform(0.5, 1.5, layer.kernel.shape)
            layer.set_weights([kernel / np.prod(kernel.shape[: 3 if isinstance(layer, keras.layers.Conv2D) else 2])])
    return int8_with_exits(network, rng.integers(0, 256, (MIN_CALIBRATION_IMAGES, *spec.input_shape), np.uint8))


def _parts_of(whole: bytes, spec: NetworkSpec) -> dict[str, bytes]:
    """The files of a network's parts, by their names, and of a call that computes next to nothing."""
    from ai_edge_litert.schema_py_generated import BuiltinOperator

    found: dict[str, bytes] = {}
    for number, stage in enumerate(split(whole), start=1):
        graph = Graph(stage)
        entry, answer = graph.inputs[0], graph.outputs[0]
        features = graph.reads(graph.of_kind(BuiltinOperator.MEAN)[0])[0]
        block = graph.ancestors(features)
        head = graph.ancestors(answer) - block
        *_, block_name, head_name = parts(spec, number)
        if number == 1:
            stem, softmax = min(block), max(head)
            (after_stem,) = graph.writes(stem)
            found[parts(spec, 1)[0]] = graph.cut([stem], entry, [after_stem])
            found[CALL] = graph.cut([softmax], graph.reads(softmax)[0], [answer])
            block, entry = block - {stem}, after_stem
        found[block_name] = graph.cut(block, entry, [features])
        found[head_name] = graph.cut(head, features, [answer])
    return found
