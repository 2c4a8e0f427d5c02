"""`Replay`: an iterator of training batches for several `fit`s, of which none is lost although Keras reads ahead."""

import threading
from collections import deque
from collections.abc import Iterator


class Replay:
    """Hands the batches of an iterator to one reader after the other.

    Keras reads ahead of the training, and what it has read is gone when its `fit` ends. Here a batch that was handed
    out and not trained on is the first that the next reader gets.

    Args:
        source: any iterator of batches; nobody else may read it.
        first: how many batches are read at once, for `first`.

    Attributes:
        first: the first batches, or as many as there are; they are trained on all the same.
    """

    def __init__(self, source: Iterator, first: int):
        self._source = source
        self._untrained: deque = deque()  # read, in their order
        self._lock = threading.Lock()  # TensorFlow reads in a thread of its own
        self._readers = 0
        self.first = [batch for batch in (self._read() for _ in range(first)) if batch is not None]

    def reader(self) -> Iterator:
        """A generator of all batches that were not trained on; the one before it ends."""
        with self._lock:
            self._readers += 1
            mine, left = self._readers, list(self._untrained)
        return self._batches(mine, left)

    def trained(self, steps: int) -> None:
        """Forgets the batches of so many further training steps."""
        with self._lock:
            for _ in range(min(steps, len(self._untrained))):
                self._untrained.popleft()

    def _batches(self, mine: int, left: list) -> Iterator:
        yield from left
        while True:
            with self._lock:
                batch = self._read() if mine == self._readers else None
            if batch is None:
                return
            yield batch

    def _read(self):
        batch = next(self._source, None)
        if batch is not None:
            self._untrained.append(batch)
        return batch
