import keras
import numpy as np
import pytest

from odn_keras.utils import keras_backends


@pytest.fixture
def model():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5), "mse")
    return model


def fit(model, after_step):
    images, labels = np.ones((16, 3), "float32"), np.ones((16, 1), "float32")
    look = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: after_step(batch))
    model.fit(images, labels, batch_size=4, epochs=1, shuffle=False, verbose=0, callbacks=[look])


def test_variables_are_the_present_ones_within_an_epoch_and_may_be_changed(model):
    seen = []

    def after_step(batch):
        keras_backends.sync_variables(model)
        seen.append(float(keras.ops.convert_to_numpy(model.layers[-1].kernel)[0, 0]))
        if batch == 2:
            model.layers[-1].kernel.assign(np.full((3, 1), 100.0))

    fit(model, after_step)
    assert 0 < seen[0] < seen[1] and abs(seen[3]) > 10  # trained on from what was assigned


def test_averages_take_the_place_of_weights_in_the_middle_of_a_training(model):
    def after_step(batch):
        if batch == 1:
            keras_backends.sync_variables(model)
            before = model.get_weights()
            keras_backends.use_averaged_weights(model, model.optimizer)
            assert 0 < model.get_weights()[0][0, 0] < before[0][0, 0]

    fit(model, after_step)  # the next steps delete no array that is still needed
    assert np.isfinite(model.get_weights()[0]).all()


def test_nothing_is_recorded_for_gradients(model):
    with keras_backends.without_gradients():
        outputs = model(np.ones((1, 3), "float32"))
    assert not getattr(outputs, "requires_grad", False)
