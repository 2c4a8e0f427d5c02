"""A device's limits, and the networks that keep within them; told before anything is trained."""

import dataclasses
from collections.abc import Iterator

from odn_keras import footprint
from odn_keras.architectures import NetworkSpec
from odn_keras.errors import InputError

NARROWER = (48, 32, 24, 16, 12, 8, 6, 4)


@dataclasses.dataclass(frozen=True)
class Budget:
    """Limits of a device.

    Attributes:
        max_flash: bytes of the int8 file; `None` for no limit.
        max_arena: bytes of TFLite Micro's working memory; `None` for no limit.
    """

    max_flash: int | None = None
    max_arena: int | None = None

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
        limits = (("max_flash", self.max_flash), ("max_arena", self.max_arena))
        return " and ".join(f"{name}={limit:,}" for name, limit in limits if limit is not None) or "no limit"


def _candidates(spec: NetworkSpec) -> Iterator[NetworkSpec]:
    """The spec and what it is replaced by, the most wanted first."""
    for width in (spec.width, *(width for width in NARROWER if width < spec.width)):
        for stride in dict.fromkeys((spec.stem_stride, 2)):
            yield dataclasses.replace(spec, width=width, stem_stride=stride)
