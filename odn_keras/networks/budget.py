"""A device's limits, and the networks that are predicted to keep them, before anything is trained."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from odn_keras.errors import InputError
from odn_keras.networks import footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.footprint import parse_bytes

NARROWER = (48, 32, 24, 16, 12, 8, 6, 4)
SIZES = {"max_flash": "flash_bytes", "max_arena": "arena_bytes", "max_macs": "macs", "max_latency_ms": "latency_ms"}


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a device; `None` for no limit.

    Attributes:
        max_flash: bytes of the int8 file.
        max_arena: bytes of TFLite Micro's working memory.
        max_macs: multiply-accumulates of an image.
        max_latency_ms: milliseconds of an image. What a spec will take is not known without a table of latencies (see
            `odn_keras.devices.latency_table`): `fits` and what rests on it leave it out.
    """

    max_flash: int | None = None
    max_arena: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None

    @classmethod
    def parse(cls, max_flash: str | None, max_arena: str | None) -> "Budget | None":
        """The budget of two flags, such as 256KB; `None` where neither is given.

        Raises:
            InputError: for what is no number of bytes.

        >>> Budget.parse("256KB", None)
        Budget(max_flash=262144, max_arena=None, max_macs=None, max_latency_ms=None)
        """
        if max_flash is None and max_arena is None:
            return None
        return cls(*(None if limit is None else parse_bytes(limit) for limit in (max_flash, max_arena)))

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by the names of the sizes: `flash_bytes`, `arena_bytes`, `macs`, `latency_ms`.

        >>> Budget(max_flash=1000).limits
        {'flash_bytes': 1000}
        """
        return {SIZES[name]: limit for name, limit in dataclasses.asdict(self).items() if limit is not None}

    def excess(self, sizes: dict[str, float]) -> float:
        """By how much sizes, under those names, exceed the limits, relatively and in sum; 0 where all are kept.

        >>> Budget(max_flash=1000, max_macs=100).excess({"flash_bytes": 1500, "macs": 50})
        0.5
        """
        return sum(max(0.0, sizes[name] / limit - 1) for name, limit in self.limits.items())

    def measured(self, flash: int, arena: int | None, latency_ms: float | None = None) -> dict[str, Any]:
        """Compares the limits with the sizes of a real file, for a report; MACs, which no file states, are left out.

        Args:
            flash: bytes of the file.
            arena: bytes of its arena; `None` where it could not be measured.
            latency_ms: milliseconds of an image; `None` where it was not measured.

        Returns:
            The limits, the sizes, and in `exceeded` the names of the limits that are.

        >>> Budget(max_flash=1000).measured(flash=1200, arena=None)["exceeded"]
        ['max_flash']
        """
        sizes = {"max_flash": flash, "max_arena": arena, "max_latency_ms": latency_ms}
        limits = {name: getattr(self, name) for name in sizes}
        exceeded = [name for name, size in sizes.items() if None not in (size, limits[name]) and size > limits[name]]
        return {**limits, **{SIZES[name]: size for name, size in sizes.items()}, "exceeded": exceeded}

    @staticmethod
    def summary(measured: dict[str, Any]) -> str:
        """What `measured` returned, in one line for a person.

        >>> budget = Budget(max_flash=1000, max_arena=500)
        >>> Budget.summary(budget.measured(flash=1200, arena=None))
        'budget exceeded: file of 1,200 bytes (max_flash 1,000), arena not measured (max_arena 500)'
        """
        parts = []
        for what, unit, name in (
            ("file", "bytes", "max_flash"),
            ("arena", "bytes", "max_arena"),
            ("latency", "ms", "max_latency_ms"),
        ):
            if measured.get(name) is not None:
                size = measured[SIZES[name]]
                taken = "not measured" if size is None else f"of {round(size, 4):,} {unit}"
                parts.append(f"{what} {taken} ({name} {measured[name]:,})")
        return f"budget {'exceeded' if measured['exceeded'] else 'kept'}: {', '.join(parts)}"

    def fits(self, spec: NetworkSpec, depth: int) -> bool:
        """Whether the network of that depth is predicted to keep within the limits."""
        predicted = {
            "flash_bytes": footprint.flash_bytes,
            "arena_bytes": footprint.arena_bytes,
            "macs": footprint.macs,
        }
        return all(predicted[name](spec, depth) <= limit for name, limit in self.limits.items() if name in predicted)

    def deepest(self, spec: NetworkSpec) -> int:
        """The largest depth up to which every network fits; 0 where not even the first does.

        >>> Budget(max_flash=256 * 1024).deepest(NetworkSpec("resnet18", (28, 28, 1), num_classes=10))
        2
        """
        depths = range(1, spec.max_depth + 1)
        return next((depth - 1 for depth in depths if not self.fits(spec, depth)), spec.max_depth)

    def fit(self, spec: NetworkSpec, depth: int = 1) -> tuple[NetworkSpec, int]:
        """The spec, or the nearest to it of which at least `depth` blocks fit, and its deepest network that fits.

        Where the spec itself is too large its stem gets stride 2, which quarters the activations and leaves the
        weights; where that is not enough it becomes narrower. A spec of which one block fits is kept, although with
        stride 2 a deeper one might fit.

        Raises:
            InputError: where nothing fits.
        """
        for candidate in _candidates(spec):
            if (deepest := self.deepest(candidate)) >= depth:
                return candidate, deepest
        flash, arena = footprint.flash_bytes(candidate, depth), footprint.arena_bytes(candidate, depth)
        blocks = "one block" if depth == 1 else f"{depth} blocks"
        raise InputError(
            f"no network of {spec.name} for images of {spec.input_shape} fits {self}: the smallest tried, "
            f"{blocks} of width {candidate.width} behind a stem of stride {candidate.stem_stride}, needs {flash:,} "
            f"bytes of flash and an arena of {arena:,}"
        )

    def __str__(self) -> str:
        given = ((name, limit) for name, limit in dataclasses.asdict(self).items() if limit is not None)
        return " and ".join(f"{name}={limit:,}" for name, limit in given) or "no limit"


def _candidates(spec: NetworkSpec) -> Iterator[NetworkSpec]:
    """The spec and what it is replaced by, the most wanted first."""
    for width in (spec.width, *(width for width in NARROWER if width < spec.width)):
        for stride in dict.fromkeys((spec.stem_stride, 2)):
            yield dataclasses.replace(spec, width=width, stem_stride=stride)
