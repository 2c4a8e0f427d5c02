import gc
import threading
import time

import pytest

from odn_keras.data.prefetch import Prefetcher


def numbers(made=None, threads=2, ahead=3, pause=0.0):
    def make(number):
        time.sleep(pause)
        if made is not None:
            made.append(number)
        return number * number

    return Prefetcher(make, lambda n: n + 1 if n < 9 else None, threads=threads, ahead=ahead)


def test_the_next_items_are_ready_before_they_are_asked_for():
    made = []
    items = numbers(made)
    assert items[0] == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert sorted(made) == [0, 1, 2, 3]  # and no more than that


def test_it_can_jump():
    items = numbers(pause=0.01)
    assert [items[n] for n in (0, 1, 5, 2, 9, 0)] == [0, 1, 25, 4, 81, 0]


def test_in_another_order_than_theirs_no_item_is_made_for_nothing():
    made = []
    items = numbers(made, ahead=4)
    order = [7, 2, 9, 4, 0, 8, 3, 6, 1, 5]
    assert [items[n] for n in order] == [n * n for n in order]
    assert len(made) <= len(order) + 5  # the first may have been a beginning
    assert [items[n] for n in (6, 7, 8, 9)] == [36, 49, 64, 81]


def test_without_threads_each_is_made_when_asked_for():
    made = []
    assert numbers(made, threads=0)[3] == 9 and made == [3]


def test_what_making_raises_is_raised_to_whoever_asks():
    def make(number):
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        Prefetcher(make, lambda n: n + 1, threads=2)[0]


def _all_end(before):
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    return threading.active_count() <= before


def test_no_thread_is_left_behind():
    before = threading.active_count()
    items = numbers()
    assert items[0] == 0
    del items
    gc.collect()
    assert _all_end(before)


def test_the_threads_end_with_the_sequence_and_when_stopped_although_somebody_refers_to_it():
    before = threading.active_count()
    items = numbers()
    assert [items[n] for n in range(10)] == [n * n for n in range(10)]
    assert _all_end(before)
    assert items[0] == 0
    items.stop()
    assert _all_end(before)
    assert items[1] == 1  # whoever goes on gets what follows
