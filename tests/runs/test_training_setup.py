import pytest

from odn_keras import InputError, RunOptions
from odn_keras.runs.training_setup import check_pruning, network_spec


def test_with_a_given_depth_pruning_must_be_possible_at_that_depth(digits):
    wanted = {"prune": 0.97, "width": 64, "epochs": 4}  # depth 4 can lose as much, depth 3 cannot
    options = RunOptions(**wanted)
    check_pruning(options, network_spec(options, digits), 3)
    options = RunOptions(**wanted, depth=3)
    with pytest.raises(InputError, match="prun"):
        check_pruning(options, network_spec(options, digits), 3)
