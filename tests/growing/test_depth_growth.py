import keras
import pytest

from odn_keras import (
    DepthGrowth,
    InputError,
)
from odn_keras.growing.stage import CYCLE, SETTLE, Stage


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"target": 0}, "got 0"),
        ({"target": 1.01}, "got 1.01"),
        ({"target": float("nan")}, "got nan"),
        ({"target": 0.9, "freeze": "all"}, "'all'"),
        ({"target": 0.9, "slack": -1}, "got -1"),
        ({"target": 0.9, "cycle_epochs": 0}, "got 0"),
        ({"target": 0.9, "monitor": "val_loss"}, "got 'val_loss'"),
        ({"target": 0.9, "monitor": "val_mean_absolute_error"}, "got 'val_mean_absolute_error'"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        DepthGrowth(**arguments)


def test_the_prefix_is_frozen_while_a_new_block_settles_and_thawed_afterwards(arrays, small_model):
    (images, labels), validation = arrays
    seen = {}

    class Watch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            stage = growth.stages[-1]
            trained = {layer.name for layer in self.model.layers if layer.trainable_weights}
            seen.setdefault((stage.depth, stage.phase), []).append("stem_conv" in trained)

    model = small_model()
    growth = DepthGrowth(1.0, max_depth=2, freeze="prefix", cycle_epochs=6, verbose=0)
    model.fit(images, labels, validation_data=validation, epochs=12, callbacks=[growth, Watch()], verbose=0)
    assert all(seen[1, CYCLE]) and not any(seen[2, SETTLE]) and all(seen[2, CYCLE])
    assert all(layer.trainable for layer in model.network.layers)


@pytest.mark.one_backend
def test_headlines_are_printed_where_fit_prints_and_count_to_the_deepest_network_tried(arrays, capsys, small_model):
    (images, labels), validation = arrays
    images, labels = images[:64], labels[:64]

    def printed(verbose, growth_verbose=None):
        growth = DepthGrowth(None, max_depth=2, verbose=growth_verbose)
        model = small_model(depth=2)
        model.fit(images, labels, validation_data=validation, epochs=1, verbose=verbose, callbacks=[growth])
        assert growth.target_met is None and model.depth == 2
        return "== depth 2 of 2: a learning-rate cycle of 1 epoch" in capsys.readouterr().out

    assert printed(2) and printed(0, 1)
    assert not printed(0) and not printed(2, 0)


@pytest.mark.one_backend
def test_freeze_none_trains_everything_always(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model()
    growth = DepthGrowth(1.0, max_depth=2, freeze="none", cycle_epochs=3, verbose=0)
    model.fit(images, labels, validation_data=validation, epochs=6, callbacks=growth, verbose=0)
    assert {(stage.depth, stage.phase) for stage in growth.stages} == {(1, CYCLE), (2, CYCLE)}


def test_the_forecast_that_a_depth_was_left_for_is_kept_whatever_later_epochs_show():
    left = Stage(1, CYCLE, 0, 1000, epoch_steps=100)
    left.checks = [(step, 0.5 + step / 2000) for step in range(50, 351, 50)]
    left.values, left.steps = [0.56, 0.61, 0.66], 350
    growth = DepthGrowth(0.99)
    growth.stages = [left]
    printed = growth.forecast(left)
    later = Stage(2, CYCLE, 350, 1200, epoch_steps=100, progress=0.2)
    later.checks, later.values, later.steps = [(400, 0.6)], [0.9], 50  # much more on all images than on the checked
    growth.stages.append(later)
    assert growth.forecast(left) == printed
