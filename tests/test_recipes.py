import keras
import numpy as np
import pytest

from odn_keras.recipes import fresh_optimizer, one_cycle


def test_a_cycle_warms_up_and_ends_at_zero():
    rates = [float(one_cycle(0.1, 100)(step)) for step in range(101)]
    assert [float(one_cycle(0.1, 100, 60)(step)) for step in range(41)] == rates[60:]
    assert rates[0] < 0.01 and np.argmax(rates) == 10 and rates[10] == pytest.approx(0.1)
    assert rates[100] == pytest.approx(0, abs=1e-6)


def test_a_continued_schedule_goes_on_while_the_optimizer_begins_anew():
    users = keras.optimizers.Adam(one_cycle(0.1, 100))
    scaled = fresh_optimizer(users, rate_scale=0.1, first_step=20)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(scaled))
    for optimizer in (scaled, again):
        assert int(optimizer.iterations) == 0  # what averages of weights and Adam's corrections go by
        assert float(optimizer.learning_rate) == pytest.approx(0.1 * float(one_cycle(0.1, 100)(20)))


def test_averaging_leaves_an_average_of_the_users_alone():
    assert fresh_optimizer(keras.optimizers.SGD(0.1), averaging=0.9).ema_momentum == 0.9
    users = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)
    assert fresh_optimizer(users, averaging=0.9).ema_momentum == 0.5
    assert not fresh_optimizer(keras.optimizers.SGD(0.1)).use_ema


def test_gradients_are_clipped_unless_the_user_does():
    assert fresh_optimizer(keras.optimizers.SGD(0.1), global_clipnorm=1.0).global_clipnorm == 1.0
    assert fresh_optimizer(keras.optimizers.SGD(0.1)).global_clipnorm is None
    users = fresh_optimizer(keras.optimizers.SGD(0.1, clipvalue=0.5), global_clipnorm=1.0)
    assert (users.clipvalue, users.global_clipnorm) == (0.5, None)
