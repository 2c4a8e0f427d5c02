"""Predicts the latency of a network from a table of its parts' latencies: stem, blocks of every width, heads.

A part is identified by its shapes, and a block also by its shortcut: equal parts are measured
once, and a table serves every network of such parts. `python -m odn_keras.latency` makes it.
"""

import json
import os
import pathlib
from dataclasses import dataclass

from odn_keras.errors import InputError
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.blocks import Layer

WRITES_ONE = "python -m odn_keras.latency writes one"
MOST_MS = 1e12  # of a part: no network takes that, and sums stay finite


def parts(spec: NetworkSpec, depth: int) -> list[str]:
    """The parts of a network, in order: its stem, its blocks and its head.

    >>> parts(NetworkSpec("resnet18", (28, 28, 1), num_classes=10, width=16), 1)
    ['stem 28x28x1: 3x3x16/1', 'block 28x28x16: 3x3x16/1 3x3x16/1', 'head 28x28x16: 10']
    """
    spec.check_depth(depth)

    def after(shape: tuple[int, int, int], convolutions: list[Layer]) -> tuple[str, tuple[int, int, int]]:
        name = f"{_shape(shape)}: {' '.join(map(_described, convolutions))}"
        for layer in convolutions:
            shape = layer.after(shape)
        return name, shape

    name, shape = after(spec.input_shape, [spec.stem()])
    found = [f"stem {name}"]
    for number in range(1, depth + 1):
        name, shape = after(shape, spec.convolutions(number))
        shortcut = ", projected" if spec.projection(number) else "" if spec.adds(number) else ", nothing added"
        found.append(f"block {name}{shortcut}")
    return [*found, f"head {_shape(shape)}: {spec.num_classes}"]


def _described(layer: Layer) -> str:
    filters = "depthwise" if layer.depthwise else layer.channels
    return f"{layer.kernel}x{layer.kernel}x{filters}/{layer.stride}"


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


@dataclass(frozen=True)
class LatencyTable:
    """Measured or estimated latencies of the parts of networks.

    Attributes:
        runtime: name and version of the runtime measured.
        machine: that it ran on.
        vela: the Ethos-U configuration that they are Vela's estimates for; `None` for LiteRT's, measured.
        call_ms: milliseconds of a call of the runtime without any computation.
        factor: latency of a whole network over the sum of its parts.
        parts_ms: of each part, without the call.
    """

    runtime: str
    machine: str
    vela: str | None
    call_ms: float
    factor: float
    parts_ms: dict[str, float]

    @classmethod
    def load(cls, path: str | os.PathLike) -> "LatencyTable":
        """Reads a table that `python -m odn_keras.latency` has written.

        Raises:
            InputError: where it is no such file, or damaged.
        """
        try:
            stored = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
            if not isinstance(stored, dict):
                raise ValueError(f"it holds no object but {str(stored)[:40]!r}")
            table = cls(*(stored[name] for name in ("runtime", "machine", "vela", "call_ms", "factor", "parts_ms")))
            _check(table)
        except OSError as error:
            raise InputError(
                f"{path} cannot be read ({error.strerror}): it is no latency table, {WRITES_ONE}"
            ) from error
        except KeyError as error:
            raise InputError(f"{path} is no latency table, it has no {error}: {WRITES_ONE}") from error
        except (ValueError, TypeError, RecursionError) as error:
            raise InputError(f"{path} is no latency table ({error}): {WRITES_ONE}") from error
        return table

    def part_ms(self, part: str) -> float:
        """Milliseconds of a part, named as by `parts`.

        Raises:
            InputError: where the table lacks it.
        """
        if part not in self.parts_ms:
            raise InputError(
                f"the latency table is of another network, it lacks the {part!r}: measure this one with "
                "python -m odn_keras.latency --run=..."
            )
        return self.parts_ms[part]

    def outside_blocks(self, spec: NetworkSpec, depth: int) -> float:
        """Milliseconds of a network without its blocks and without `factor`: of the call, the stem and the head."""
        stem, *_, head = parts(spec, depth)
        return self.call_ms + self.part_ms(stem) + self.part_ms(head)

    def milliseconds(self, spec: NetworkSpec, depth: int) -> float:
        """Milliseconds of one image: the sum of the network's parts, times `factor`.

        Raises:
            InputError: where the table lacks a part.
        """
        total = self.outside_blocks(spec, depth)
        for block in parts(spec, depth)[1:-1]:
            total += self.part_ms(block)  # one after the other, as the exact search adds: `sum` may round otherwise
        return self.factor * total


def _check(table: LatencyTable) -> None:
    if not isinstance(table.parts_ms, dict) or not table.parts_ms:
        raise ValueError(f"parts_ms must name the parts and their milliseconds, got {str(table.parts_ms)[:40]}")
    for name, text in (
        ("runtime", table.runtime),
        ("machine", table.machine),
        ("vela", "" if table.vela is None else table.vela),
    ):
        if not isinstance(text, str):
            raise ValueError(f"{name} must be text, got {str(text)[:40]}")
    for name, number in (("call_ms", table.call_ms), ("factor", table.factor), *table.parts_ms.items()):
        if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < MOST_MS:
            raise ValueError(f"{name!r} must be a number of milliseconds of at least 0, got {str(number)[:40]}")
    if table.factor == 0:
        raise ValueError("'factor' must be above 0, got 0")
