"""The part of every batch that one process of several feeds."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Share:
    """The part of every batch that this process feeds.

    Attributes:
        process: number of this process.
        processes: how many there are.
        devices: how many devices they have together.
    """

    process: int = 0
    processes: int = 1
    devices: int = 1

    def of(self, length: int) -> slice:
        """The part of `length` images; `length` must be divisible by the number of devices."""
        part = length // self.processes
        return slice(self.process * part, (self.process + 1) * part)

    @property
    def is_chief(self) -> bool:
        """True in process 0, which writes the files."""
        return self.process == 0
