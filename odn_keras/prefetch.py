"""The next items of a sequence, made in threads while the present one is used."""

import threading
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
Item = TypeVar("Item")


class Prefetcher(Generic[Key, Item]):
    """Makes the items that follow the one asked for, at most `ahead` of them, in threads.

    Which thread makes an item changes nothing about it: an item depends on its key alone. Threads end when the
    prefetcher is no longer referred to, at the latest with the process.

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
        self._lock = threading.Lock()

    def __getitem__(self, key: Key) -> Item:
        if not self._threads:
            return self._make(key)
        with self._lock:
            wanted = [key]
            while len(wanted) <= self._ahead and (next_key := self._following(wanted[-1])) is not None:
                wanted.append(next_key)
            for stale in self._futures.keys() - set(wanted):
                self._futures.pop(stale).cancel()
            self._pool = self._pool or ThreadPoolExecutor(self._threads, thread_name_prefix="batches")
            for place in wanted:
                if place not in self._futures:
                    self._futures[place] = self._pool.submit(self._make, place)
            future = self._futures.pop(key)
        return future.result()
