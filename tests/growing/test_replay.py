import itertools

from odn_keras.growing.replay import Replay


def test_what_was_read_and_not_trained_on_comes_again():
    replay = Replay(iter(range(10)), first=3)
    assert replay.first == [0, 1, 2]
    reader = replay.reader()
    assert list(itertools.islice(reader, 6)) == [0, 1, 2, 3, 4, 5]
    replay.trained(4)
    second = replay.reader()
    assert next(second) == 4
    assert list(reader) == []  # its time is over
    replay.trained(1)
    assert list(second) == [5, 6, 7, 8, 9]
    replay.trained(5)
    assert list(replay.reader()) == []


def test_a_source_may_be_shorter_than_the_first_batches():
    replay = Replay(iter("ab"), first=3)
    assert replay.first == ["a", "b"] and list(replay.reader()) == ["a", "b"]
