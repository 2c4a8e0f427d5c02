"""`Snapshots`: those of one growing fit, the last one in memory and, with a `Checkpoint`, on disk."""

import contextlib
import random
from contextlib import AbstractContextManager
from typing import Any

from odn_keras.errors import InputError
from odn_keras.growing import distribution
from odn_keras.growing.checkpoint import Checkpoint, Snapshot


class Snapshots:
    """Keeps the snapshots of one fit.

    Args:
        checkpoint: where they are written, if anywhere.
        settings: what a training must have in common with the one that it resumes, as JSON.

    Attributes:
        settings: as given.
        last: the snapshot that was kept or restored last.
    """

    last: Snapshot

    def __init__(self, checkpoint: Checkpoint | None, settings: dict[str, Any]):
        self.settings = settings
        self._checkpoint = checkpoint

    def load(self) -> Snapshot | None:
        """The last snapshot on disk; `None` where there is none.

        Raises:
            InputError: where it is of a training with other settings.
        """
        snapshot = self._checkpoint.load() if self._checkpoint else None
        if self._checkpoint and snapshot:
            stored = snapshot.state["settings"]
            for name in {**self.settings, **stored}:
                before, now = stored.get(name), self.settings.get(name)
                if before != now and (name in stored or now):  # what an earlier version did not have is off
                    raise InputError(
                        f"the checkpoint in {self._checkpoint.folder} is of another training: "
                        f"{name} was {before}, is {now}; resume that one as it was begun, or delete the folder and "
                        "train again"
                    )
        return snapshot

    def keep(self, snapshot: Snapshot) -> None:
        """Keeps what a training may return to, or be resumed from."""
        self.last = snapshot
        with distribution.together():
            self.write(snapshot)

    def write(self, snapshot: Snapshot) -> None:
        """Writes what a training is resumed from, if there is a checkpoint."""
        if self._checkpoint:
            self._checkpoint.save(snapshot)

    # Signals.

    def deferring_signals(self) -> AbstractContextManager:
        """Context manager: see `Checkpoint.deferring_signals`."""
        return self._checkpoint.deferring_signals() if self._checkpoint else contextlib.nullcontext()

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._checkpoint is not None and self._checkpoint.stop_requested

    def stop(self) -> None:
        """Does what the signal would have done at once."""
        if self._checkpoint:
            self._checkpoint.stop()


def random_state() -> tuple:
    """The state of Python's `random`, which is JSON."""
    return random.getstate()


def restore_random_state(state: Any) -> None:
    """Returns to a `random_state`, of which JSON has made lists."""
    version, numbers, gauss = state
    random.setstate((version, tuple(numbers), gauss))


def drawn_seed() -> int:
    """A number by the seed of Python's `random`, whose later draws stay the same; the same in all processes."""

    def drawn() -> bytes:
        state = random.getstate()
        number = random.getrandbits(32)
        random.setstate(state)
        return number.to_bytes(4)

    return int.from_bytes(distribution.from_chief(drawn))
