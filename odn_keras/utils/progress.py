"""Shows the progress of long computations on a terminal."""

import sys
import time

SILENT_SECONDS = 2.0
SECONDS_BETWEEN = 0.2


class Progress:
    """Context manager: a line on stderr, removed at the end; nothing where stderr is no terminal.

    >>> with Progress("reading images", 3) as progress:
    ...     for image in range(3):
    ...         progress.add(1)

    Args:
        what: name of the computation.
        total: number of steps; 0: unknown.
    """

    def __init__(self, what: str, total: int):
        self._what, self._total, self._done = what, total, 0
        self._next = time.monotonic() + SILENT_SECONDS
        self._shown = False

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_) -> None:
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def add(self, done: int) -> None:
        """Counts `done` further steps."""
        self._done += done
        now = time.monotonic()
        if now < self._next or not sys.stderr.isatty():
            return
        self._next, self._shown = now + SECONDS_BETWEEN, True
        of = f" of {self._total:,}" if self._total else ""
        print(f"\r\x1b[K{self._what}: {self._done:,}{of}", end="", file=sys.stderr, flush=True)
