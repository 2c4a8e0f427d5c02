"""A device's limits, and the networks that keep within them; told before anything is trained."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from odn_keras import footprint
from odn_keras.architectures import NetworkSpec
from odn_keras.errors import InputError
from odn_keras.footprint import parse_bytes

NARROWER = (48, 32, 24, 16, 12, 8, 6, 4)


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a device.

    Attributes:
        max_flash: bytes of the int8 file; `None` for no limit.
        max_arena: bytes of TFLite Micro's working memory; `None` for no limit.
        max_latency_ms: milliseconds of an image; `None` for no limit. Only measured files are held against it: what a
            spec will take is not known without a table (see `odn_keras.latency_table`).
    """

    max_flash: int | None = None
    max_arena: int | None = None
    max_latency_ms: float | None = None

    @classmethod
    def parse(cls, max_flash: str | None, max_arena: str | None) -> "Budget | None":
        """The budget of two flags, such as 256KB; `None` where neither is given.

        Raises:
            InputError: for what is no number of bytes.

        >>> Budget.parse("256KB", None)
        Budget(max_flash=262144, max_arena=None, max_latency_ms=None)
        """
        if max_flash is None and max_arena is None:
            return None
        return cls(*(None if limit is None else parse_bytes(limit) for limit in (max_flash, max_arena)))

    def measured(self, flash: int, arena: int | None, latency_ms: float | None = None) -> dict[str, Any]:
        """The limits against what a real file takes, as a report has it.

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
        limits = dataclasses.asdict(self)
        exceeded = [name for name, size in sizes.items() if None not in (size, limits[name]) and size > limits[name]]
        return {**limits, "flash_bytes": flash, "arena_bytes": arena, "latency_ms": latency_ms, "exceeded": exceeded}

    @staticmethod
    def told(measured: dict[str, Any]) -> str:
        """What `measured` returned, in one line for a person.

        >>> budget = Budget(max_flash=1000, max_arena=500)
        >>> Budget.told(budget.measured(flash=1200, arena=None))
        'budget exceeded: file of 1,200 bytes (max_flash 1,000), arena not measured (max_arena 500)'
        """
        parts = []
        for what, size, unit, name in (
            ("file", "flash_bytes", "bytes", "max_flash"),
            ("arena", "arena_bytes", "bytes", "max_arena"),
            ("latency", "latency_ms", "ms", "max_latency_ms"),
        ):
            if measured.get(name) is not None:
                taken = "not measured" if measured[size] is None else f"of {round(measured[size], 4):,} {unit}"
                parts.append(f"{what} {taken} ({name} {measured[name]:,})")
        return f"budget {'exceeded' if measured['exceeded'] else 'kept'}: {', '.join(parts)}"

    def fits(self, spec: NetworkSpec, depth: int) -> bool:
        """Whether the network of that depth is predicted to keep within the limits."""
        return (self.max_flash is None or footprint.flash_bytes(spec, depth) <= self.max_flash) and (
            self.max_arena is None or footprint.arena_bytes(spec, depth) <= self.max_arena
        )

    def deepest(self, spec: NetworkSpec) -> int:
        """The largest depth up to which every network fits; 0 where not even the first does.

        >>> Budget(max_flash=256 * 1024).deepest(NetworkSpec("resnet18", (28, 28, 1), num_classes=10))
        2
        """
        depths = range(1, spec.max_depth + 1)
        return next((depth - 1 for depth in depths if not self.fits(spec, depth)), spec.max_depth)

    def fit(self, spec: NetworkSpec) -> tuple[NetworkSpec, int]:
        """The spec, or the nearest to it of which at least one block fits, and its deepest network that fits.

        Where the spec itself is too large its stem gets stride 2, which quarters the activations and leaves the
        weights; where that is not enough it becomes narrower. A spec of which one block fits is kept, although with
        stride 2 a deeper one might fit.

        Raises:
            InputError: where nothing fits.
        """
        for candidate in _candidates(spec):
            if depth := self.deepest(candidate):
                return candidate, depth
        flash, arena = footprint.flash_bytes(candidate, 1), footprint.arena_bytes(candidate, 1)
        raise InputError(
            f"no network of {spec.backbone} for images of {spec.input_shape} fits {self}: the smallest tried, "
            f"one block of width {candidate.width} behind a stem of stride {candidate.stem_stride}, needs {flash:,} "
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
