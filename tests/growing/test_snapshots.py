import json
import random

import numpy as np
import pytest

from odn_keras import Checkpoint, InputError
from odn_keras.growing.checkpoint import Snapshot
from odn_keras.growing.snapshots import Snapshots, drawn_seed, random_state, restore_random_state


def snapshot(epoch, **settings):
    return Snapshot(epoch, 0, {"settings": settings}, {"weights": [np.zeros(2)]})


def test_what_is_kept_is_loaded_under_the_same_settings_only(tmp_path):
    snapshots = Snapshots(Checkpoint(tmp_path), {"width": 4})
    assert snapshots.load() is None
    snapshots.keep(snapshot(1, width=4))
    assert snapshots.last.epoch == 1 and snapshots.load().epoch == 1
    snapshots.write(snapshot(2, width=4))
    assert snapshots.last.epoch == 1 and snapshots.load().epoch == 2  # where a divergence returns to is the last epoch
    with pytest.raises(InputError, match="another training: width was 4, is 8"):
        Snapshots(Checkpoint(tmp_path), {"width": 8}).load()


def test_a_setting_that_an_earlier_version_did_not_have_is_taken_to_be_off(tmp_path):
    Snapshots(Checkpoint(tmp_path), {}).keep(snapshot(1, width=4, seed=0))
    assert Snapshots(Checkpoint(tmp_path), {"width": 4, "seed": 0, "trained": False}).load().epoch == 1
    for settings, message in (
        ({"trained": True}, "trained was None, is True"),
        ({"seed": None}, "seed was 0, is None"),
    ):
        with pytest.raises(InputError, match=message):
            Snapshots(Checkpoint(tmp_path), settings).load()


def test_without_a_checkpoint_the_last_one_is_in_memory():
    snapshots = Snapshots(None, {})
    snapshots.keep(snapshot(3))
    assert snapshots.load() is None and snapshots.last.epoch == 3 and not snapshots.stop_requested
    with snapshots.deferring_signals():
        snapshots.stop()  # nothing to do


def test_random_numbers_continue_where_they_were():
    random.seed(1)
    random.gauss(0, 1)  # leaves a second number behind
    state = json.loads(json.dumps(random_state()))
    expected = [random.gauss(0, 1), random.random()]
    restore_random_state(state)
    assert [random.gauss(0, 1), random.random()] == expected


def test_a_seed_is_drawn_by_the_seed_of_random_and_changes_no_later_draw():
    random.seed(1)
    expected = random.random()
    random.seed(1)
    seed = drawn_seed()
    assert random.random() == expected and 0 <= seed < 2**32
    random.seed(2)
    assert drawn_seed() != seed
