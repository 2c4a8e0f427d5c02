import numpy as np
import pytest

from odn_keras.recipes import one_cycle


def test_a_cycle_warms_up_and_ends_at_zero():
    rates = [float(one_cycle(0.1, 100)(step)) for step in range(101)]
    assert [float(one_cycle(0.1, 100, 60)(step)) for step in range(41)] == rates[60:]
    assert rates[0] < 0.01 and np.argmax(rates) == 10 and rates[10] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0, abs=1e-6)
