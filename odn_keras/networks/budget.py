"""A device's limits, and the networks that are predicted to keep them, before anything is trained."""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

from odn_keras.errors import InputError
from odn_keras.networks import footprint
from odn_keras.networks.architectures import NetworkSpec
from odn_keras.networks.footprint import parse_bytes
from odn_keras.networks.kernels import KERNELS, REFERENCE

NARROWER = (48, 32, 24, 16, 12, 8, 6, 4)
KB = 1024
SIZES = {"max_flash": "flash_bytes", "max_arena": "arena_bytes", "max_macs": "macs", "max_latency_ms": "latency_ms"}


@dataclasses.dataclass(frozen=True)
class Room:
    """What a device leaves for a network.

    Attributes:
        device: its name.
        flash_bytes: of the int8 file.
        arena_bytes: of TFLite Micro's working memory.
        instructions_per_ms: of its processor; `None` where no time can be predicted.
    """

    device: str
    flash_bytes: int
    arena_bytes: int
    instructions_per_ms: float | None = None

    def milliseconds(self, instructions: float) -> float | None:
        """Milliseconds of so many instructions; `None` where they cannot be predicted."""
        return None if self.instructions_per_ms is None else instructions / self.instructions_per_ms


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a device; `None` for no limit.

    Attributes:
        max_flash: bytes of the int8 file.
        max_arena: bytes of TFLite Micro's working memory.
        max_macs: multiply-accumulates of an image.
        max_latency_ms: milliseconds of an image. What a spec will take is known where `room` can predict it; without
            that, only with a table of latencies (see `odn_keras.devices.latency_table`), and `fits` and what rests on
            it leave it out.
        kernels: one of `odn_keras.networks.kernels.KERNELS`, on which the arena and the time depend.
        room: what a device leaves; `None` where the limits are of no device that is known.

    Raises:
        InputError: for unknown kernels.
    """

    max_flash: int | None = None
    max_arena: int | None = None
    max_macs: int | None = None
    max_latency_ms: float | None = None
    kernels: str = REFERENCE
    room: Room | None = None

    def __post_init__(self) -> None:
        if self.kernels not in KERNELS:
            raise InputError(f"kernels must be one of {', '.join(KERNELS)}, got {self.kernels!r}")

    @classmethod
    def parse(cls, max_flash: str | None, max_arena: str | None, kernels: str = REFERENCE) -> "Budget | None":
        """The budget of two flags, such as 256KB; `None` where neither is given.

        Raises:
            InputError: for what is no number of bytes.

        >>> Budget.parse("256KB", None).limits
        {'flash_bytes': 262144}
        """
        if max_flash is None and max_arena is None:
            return None
        flash, arena = (None if limit is None else parse_bytes(limit) for limit in (max_flash, max_arena))
        return cls(flash, arena, kernels=kernels)

    @property
    def limits(self) -> dict[str, float]:
        """The limits that there are, by the names of the sizes: `flash_bytes`, `arena_bytes`, `macs`, `latency_ms`.

        >>> Budget(max_flash=1000).limits
        {'flash_bytes': 1000}
        """
        return {SIZES[name]: limit for name, limit in self._given}

    @property
    def _given(self) -> list[tuple[str, Any]]:
        return [(name, getattr(self, name)) for name in SIZES if getattr(self, name) is not None]

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
            The limits, the sizes, and in `exceeded` the names of the limits that are; of a device its name and the
            bytes of flash and RAM that it has to spare.

        >>> Budget(max_flash=1000).measured(flash=1200, arena=None)["exceeded"]
        ['max_flash']
        """
        sizes = {"max_flash": flash, "max_arena": arena, "max_latency_ms": latency_ms}
        limits = {name: getattr(self, name) for name in sizes}
        exceeded = [name for name, size in sizes.items() if None not in (size, limits[name]) and size > limits[name]]
        compared = {**limits, **{SIZES[name]: size for name, size in sizes.items()}, "exceeded": exceeded}
        if self.room:
            spare = None if arena is None else self.room.arena_bytes - arena
            compared |= {"device": self.room.device, "spare_flash": self.room.flash_bytes - flash, "spare_ram": spare}
        return {**compared, "kernels": self.kernels}

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
        said = f"budget {'exceeded' if measured['exceeded'] else 'kept'}: {', '.join(parts)}"
        if measured.get("device") and measured["latency_ms"] is not None and measured["max_latency_ms"] is None:
            said += f"\npredicted for {measured['device']}: {measured['latency_ms']:.3g} ms an image"
        if measured.get("device") and not measured["exceeded"] and measured["spare_ram"] is not None:
            ram, flash = (f"{measured[name] // KB:,} KB" for name in ("spare_ram", "spare_flash"))
            said += f"\nfits {measured['device']} with {ram} of RAM and {flash} of flash to spare"
        return said

    def fits(self, spec: NetworkSpec, depth: int) -> bool:
        """Whether the network of that depth is predicted to keep within the limits."""
        predicted: dict[str, Callable[[], float | None]] = {
            "flash_bytes": lambda: footprint.flash_bytes(spec, depth),
            "arena_bytes": lambda: footprint.arena_bytes(spec, depth, self.kernels),
            "macs": lambda: footprint.macs(spec, depth),
            "latency_ms": lambda: self.milliseconds(spec, depth),
        }
        sizes = ((predicted[name](), limit) for name, limit in self.limits.items())
        return all(size is None or size <= limit for size, limit in sizes)

    def milliseconds(self, spec: NetworkSpec, depth: int) -> float | None:
        """Predicted milliseconds of an image on the device; `None` where they cannot be predicted."""
        if self.room is None:
            return None
        return self.room.milliseconds(footprint.of_spec(spec, depth, self.kernels).instructions)

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
        flash, arena = footprint.flash_bytes(candidate, depth), footprint.arena_bytes(candidate, depth, self.kernels)
        milliseconds = self.milliseconds(candidate, depth)
        time = "" if milliseconds is None else f", and {milliseconds:.3g} ms"
        blocks = "one block" if depth == 1 else f"{depth} blocks"
        raise InputError(
            f"no network of {spec.name} for images of {spec.input_shape} fits {self}: the smallest tried, "
            f"{blocks} of width {candidate.width} behind a stem of stride {candidate.stem_stride}, needs {flash:,} "
            f"bytes of flash and an arena of {arena:,}{time}"
        )

    def __str__(self) -> str:
        given = " and ".join(f"{name}={limit:,}" for name, limit in self._given) or "no limit"
        return f"{given} on {self.room.device}" if self.room else given


def _candidates(spec: NetworkSpec) -> Iterator[NetworkSpec]:
    """The spec and what it is replaced by, the most wanted first."""
    for width in (spec.width, *(width for width in NARROWER if width < spec.width)):
        for stride in dict.fromkeys((spec.stem_stride, 2)):
            yield dataclasses.replace(spec, width=width, stem_stride=stride)
