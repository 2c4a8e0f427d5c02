"""Makes the next items of a sequence in threads while the present one is used."""

import threading
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")

JUMPS = 2  # one behind the other: the order is another; a single one is a new beginning


class Prefetcher(Generic[Key, Item]):
    """Makes the items that follow the one asked for, at most `ahead` of them, in threads.

    Which thread makes an item changes nothing about it: an item depends on its key alone. Items that are asked for in
    another order than theirs are made when they are asked for: what follows them would be made for nothing. Threads end
    with the last item of the sequence, with `stop`, when the prefetcher is no longer referred to (TensorFlow refers to
    whatever it has read from), and at the latest with the process.

    Args:
        make: key -> item; called from several threads at once.
        following: key -> the next key; `None` at the end.
        threads: how many; 0 makes each item when it is asked for.
        ahead: items kept ready at most; default: two for each thread.

    >>> squares = Prefetcher(lambda n: n * n, lambda n: n + 1 if n < 9 else None, threads=2)
    >>> [squares[n] for n in range(4)]
    [0, 1, 4, 9]
    """

    def __init__(
        self,
        make: Callable[[Key], Item],
        following: Callable[[Key], Key | None],
        *,
        threads: int,
        ahead: int | None = None,
    ):
        self._make, self._following = make, following
        self._threads, self._ahead = threads, 2 * threads if ahead is None else ahead
        self._pool: ThreadPoolExecutor | None = None
        self._futures: dict[Key, Future[Item]] = {}
        self._next: Key | None = None
        self._jumps = 0  # one behind the other
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Item:
        if not self._threads:
            return self._make(key)
        with self._lock:
            future = self._prepare(key)
        return self._make(key) if future is None else future.result()

    def stop(self) -> None:
        """Discards the prepared items and ends the threads; the next request starts them again."""
        with self._lock:
            self._keep(())
            self._end_threads()

    def _prepare(self, key: Key) -> Future[Item] | None:
        """Starts making the item and those that follow it in threads; `None` where the caller makes the item itself."""
        self._jumps = 0 if key == self._next else self._jumps + 1
        self._next = self._following(key)
        if self._jumps >= JUMPS and key not in self._futures:
            self._keep(())
            return None
        wanted = [key]
        while len(wanted) <= self._ahead and (next_key := self._following(wanted[-1])) is not None:
            wanted.append(next_key)
        self._keep(wanted)
        self._pool = self._pool or ThreadPoolExecutor(self._threads, thread_name_prefix="batches")
        for place in wanted:
            if place not in self._futures:
                self._futures[place] = self._pool.submit(self._make, place)
        future = self._futures.pop(key)
        if not self._futures:  # the last one of all
            self._end_threads()
        return future

    def _keep(self, keys: Iterable[Key]) -> None:
        for stale in self._futures.keys() - set(keys):
            self._futures.pop(stale).cancel()

    def _end_threads(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=False)  # what was asked for is made all the same
            self._pool = None
