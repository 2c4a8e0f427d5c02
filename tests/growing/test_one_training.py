import math

import keras

from odn_keras.growing.one_training import EpochHistory, OneTraining


class Listener:
    first_step, epoch_steps = 0, 4

    def __init__(self, heard):
        self._heard = heard

    def __getattr__(self, name):
        return lambda *arguments: self._heard.append(("listener", name, *arguments))


class Callback(keras.callbacks.Callback):
    def __init__(self, heard):
        super().__init__()
        self._heard = heard

    def on_train_begin(self, logs=None):
        self._heard.append("begin")

    def on_train_end(self, logs=None):
        self._heard.append("end")

    def on_epoch_begin(self, epoch, logs=None):
        self._heard.append(("epoch", epoch))

    def on_train_batch_end(self, batch, logs=None):
        self._heard.append(("step", batch))


def training():
    heard = []
    listener = Listener(heard)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    return heard, listener, OneTraining(listener, [Callback(heard), history := EpochHistory()], model=model), history


def test_callbacks_see_one_beginning_one_end_and_each_epoch_once():
    heard, listener, one, _ = training()
    one.begin()
    one.on_train_begin()
    one.on_epoch_begin(0)
    one.on_train_batch_end(1, {"loss": 2.0})
    one.on_train_end()
    listener.first_step = 2
    one.continue_epoch(0)
    one.on_train_begin()
    one.on_epoch_begin(0)
    one.on_train_batch_end(1, {"loss": 1.0})
    one.on_train_end()
    one.finish()
    steps = [("step", 1), ("listener", "on_step_end", 1, 2.0), ("step", 3), ("listener", "on_step_end", 3, 1.0)]
    begins = ("listener", "on_epoch_begin", 0)
    assert heard == ["begin", begins, ("epoch", 0), *steps[:2], begins, *steps[2:], "end"]


def test_the_history_has_a_value_for_every_epoch_and_comes_back():
    _, _, _, history = training()
    history.on_train_begin()
    history.on_epoch_end(0, {"loss": 2.0})
    history.on_epoch_end(1, {"loss": 1.0, "exit": 0.5})
    assert math.isnan(history.history["exit"][0]) and history.history["exit"][1] == 0.5
    other = EpochHistory()
    other.set_model(history.model)
    other.restore(history.state(), range(2))
    other.on_train_begin()
    assert other.epoch == [0, 1] and other.history["loss"] == [2.0, 1.0]
    other.on_epoch_end(2, {"loss": 0.5})
    assert math.isnan(other.history["exit"][2]) and len(history.history["loss"]) == 2


def test_remembered_weights_of_another_network_are_dropped():
    stop = keras.callbacks.EarlyStopping()
    stop.best_weights = [1]
    OneTraining(Listener([]), [stop]).forget_weights()
    assert stop.best_weights is None
