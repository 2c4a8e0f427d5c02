import keras
import numpy as np
import pytest

from odn_keras.growing.schedules import one_cycle


def test_a_cycle_warms_up_stays_at_its_peak_and_falls_to_zero_in_its_second_half():
    rates = [float(one_cycle(0.1, 100)(step)) for step in range(101)]
    assert [float(one_cycle(0.1, 100, 60)(step)) for step in range(41)] == rates[60:]
    assert rates[0] < 0.01 and rates[10:51] == pytest.approx([0.1] * 41)
    assert np.all(np.diff(rates[:11]) > 0) and np.all(np.diff(rates[51:]) < 0)
    assert rates[75] == pytest.approx(0.05) and rates[100] == pytest.approx(0, abs=1e-6)


def test_the_warm_up_of_a_long_cycle_takes_300_steps():
    rates = [float(one_cycle(0.1, 10_000)(step)) for step in (0, 150, 299, 300, 1000, 5000)]
    assert rates[0] < rates[1] < rates[2] < 0.1
    assert rates[3:] == pytest.approx([0.1] * 3)


def test_a_schedule_is_saved_with_its_optimizer():
    optimizer = keras.optimizers.SGD(one_cycle(0.1, 100, 20))
    loaded = keras.optimizers.SGD.from_config(optimizer.get_config())
    assert float(loaded.learning_rate) == float(optimizer.learning_rate) == pytest.approx(0.1)
