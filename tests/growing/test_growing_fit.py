import warnings

import keras
import numpy as np
import pytest

from odn_keras import (
    Budget,
    ChannelPruning,
    DepthGrowth,
    InputError,
    OptimallyDeepNetwork,
    build,
)
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.growing.stage import CYCLE, PRUNE, RECOVER, SHRINK
from odn_keras.networks.cost import params
from odn_keras.prune import saliencies


class Recorder(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.events = []

    def on_train_begin(self, logs=None):
        self.events.append("begin")

    def on_train_end(self, logs=None):
        self.events.append("end")

    def on_epoch_end(self, epoch, logs=None):
        self.events.append(epoch)


def test_a_growing_fit_is_one_training_to_everybody_else(arrays, tmp_path, small_model):
    (images, labels), validation = arrays
    model, recorder = small_model(), Recorder()
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=4, verbose=0)
    others = [
        recorder,
        keras.callbacks.ModelCheckpoint(tmp_path / "best.keras", save_best_only=True, monitor="val_accuracy"),
        keras.callbacks.CSVLogger(tmp_path / "log.csv"),
        keras.callbacks.TensorBoard(tmp_path / "board"),
        keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=100, restore_best_weights=True),
    ]
    history = model.fit(images, labels, validation_data=validation, epochs=6, callbacks=[*others, growth], verbose=0)

    epochs = round(sum(stage.epochs for stage in growth.stages))
    assert {stage.depth for stage in growth.stages} == {1, 2}
    assert recorder.events == ["begin", *range(epochs), "end"]
    assert history.epoch == list(range(epochs))
    assert len(history.history["val_accuracy"]) == epochs
    assert history.history["val_accuracy"] == [value for stage in growth.stages for value in stage.values]
    assert len((tmp_path / "log.csv").read_text().splitlines()) == epochs + 1
    assert any((tmp_path / "board" / "train").iterdir())
    best = keras.saving.load_model(tmp_path / "best.keras")
    assert best.evaluate(*validation, verbose=0)[1] == pytest.approx(growth.best, abs=1e-6)
    assert model.evaluate(*validation, verbose=0)[1] == pytest.approx(growth.best, abs=1e-6)
    assert model.depth == growth.best_depth


@pytest.mark.one_backend
def test_early_stopping_ends_the_whole_run(arrays, small_model):
    (images, labels), validation = arrays
    model, recorder = small_model(), Recorder()
    stop = keras.callbacks.EarlyStopping(monitor="loss", mode="max", patience=1)  # the loss falls: stops at once
    growth = DepthGrowth(1.0, cycle_epochs=2, verbose=0)  # another stage would begin at the same epoch
    model.fit(images, labels, validation_data=validation, epochs=12, callbacks=[stop, recorder, growth], verbose=0)
    assert recorder.events == ["begin", 0, 1, "end"]
    assert growth.is_over() and growth.stages[-1].depth == 1


@pytest.mark.one_backend
def test_early_stopping_may_restore_although_the_best_depth_is_not_the_last(arrays):
    (images, labels), validation = arrays

    class SpoilHead(keras.callbacks.Callback):
        """Makes every depth but the first bad: the schedule below leaves no learning rate to repair it."""

        def on_epoch_begin(self, epoch, logs=None):
            if growth.stages[-1].depth > 1:
                self.model.get_layer("head").set_weights([np.zeros((8, 10)), np.zeros(10)])

    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=8)
    model.compile(keras.optimizers.SGD(keras.optimizers.schedules.PiecewiseConstantDecay([32], [0.1, 0.0])))
    stop = keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=100, restore_best_weights=True)
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=4, slack=0, verbose=0)

    callbacks = [SpoilHead(), stop, growth]
    model.fit(images, labels, validation_data=validation, epochs=8, callbacks=callbacks, verbose=0)
    assert {stage.depth for stage in growth.stages} == {1, 2} and model.depth == growth.best_depth == 1
    assert model.evaluate(*validation, verbose=0)[1] == pytest.approx(growth.best, abs=1e-6)


def test_exits_answer_and_are_logged_while_the_network_deepens(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model(exits=[1])
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=3, verbose=0)
    history = model.fit(images, labels, validation_data=validation, epochs=6, callbacks=[growth], verbose=0).history
    logged = history["val_block1_exit_accuracy"]
    deeper = [stage.depth == 2 for stage in growth.stages for _ in stage.values]
    assert [not np.isnan(accuracy) for accuracy in logged] == deeper  # NaN while there is no exit
    assert logged[deeper.index(True)] > 0.2  # the head of before is the exit now: it does not start from nothing
    assert model.depth == growth.best_depth == 2
    inner, end = model.predict(validation[0], verbose=0)
    accuracies = dict(zip(("loss", "end", "exit"), model.evaluate(*validation, verbose=0), strict=True))
    assert accuracies["exit"] == pytest.approx(np.mean(inner.argmax(-1) == validation[1]), abs=1e-5)
    assert accuracies["end"] == pytest.approx(np.mean(end.argmax(-1) == validation[1]), abs=1e-5)


def test_a_teacher_is_listened_to_and_left_alone(arrays, small_model):
    (images, labels), validation = arrays
    teacher = small_model(depth=2)
    teacher.fit(images, labels, epochs=2, verbose=0)
    before = teacher.get_weights()
    losses = {}
    for name, given in (("teacher", teacher.network), ("alone", None)):
        keras.utils.set_random_seed(1)
        model = small_model(teacher=given)
        growth = DepthGrowth(1.0, max_depth=1, cycle_epochs=2, verbose=0)
        history = model.fit(images, labels, validation_data=validation, epochs=2, callbacks=[growth], verbose=0)
        losses[name] = history.history["loss"][0]
        assert len(model.network.outputs) == 1
    assert losses["teacher"] != losses["alone"]
    for was, weight in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(was, weight)
    with pytest.raises(InputError, match="4 classes"):
        OptimallyDeepNetwork("resnet18", (8, 8, 1), 4, teacher=teacher.network)


class Pairs(keras.utils.PyDataset):
    def __init__(self, images, labels):
        super().__init__()
        self.images, self.labels = images, labels

    def __len__(self):
        return 4

    def __getitem__(self, index):
        part = slice(32 * index, 32 * index + 32)
        return self.images[part], self.labels[part]


def once(kind):
    return pytest.param(kind, marks=pytest.mark.one_backend)


@pytest.mark.parametrize(
    "kind",
    [
        "arrays",
        once("dict"),
        once("split"),
        once("py_dataset"),
        once("endless"),
        "tf.data",
        once("tf.data of unknown length"),
    ],
)
def test_every_kind_of_input_grows(arrays, kind, small_model, endless):
    (images, labels), validation = arrays
    images, labels = images[:128], labels[:128]
    arguments = {"x": images, "y": labels, "validation_data": validation}
    if kind == "dict":
        arguments = {"x": {"image": images}, "y": labels, "validation_data": ({"image": validation[0]}, validation[1])}
    if kind == "split":
        arguments = {"x": images, "y": labels, "validation_split": 0.25}
    if kind == "py_dataset":
        arguments = {"x": Pairs(images, labels), "validation_data": validation}
    if kind == "endless":
        arguments = {"x": endless(images, labels), "validation_data": validation, "steps_per_epoch": 4}
    if kind.startswith("tf.data"):
        tf = pytest.importorskip("tensorflow")
        data = tf.data.Dataset.from_tensor_slices((images, labels)).batch(32)
        data = data.filter(lambda *_: True) if "unknown" in kind else data
        arguments = {"x": data, "validation_data": tf.data.Dataset.from_tensor_slices(validation).batch(64)}
    model = small_model()
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=2, verbose=0)
    model.fit(**arguments, epochs=3, callbacks=[growth], verbose=0)
    assert {stage.depth for stage in growth.stages} == {1, 2}
    assert sum(stage.epochs for stage in growth.stages) == 3


def test_of_a_generator_no_batch_is_lost_between_the_stages(arrays, small_model):
    (images, labels), validation = arrays

    def batches(count):
        for index in range(count):
            start = 32 * (index % 8)
            yield images[start : start + 32], labels[start : start + 32]

    def fit(count):
        growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=2, verbose=0)
        arguments = {"steps_per_epoch": 4, "validation_data": validation, "callbacks": [growth], "verbose": 0}
        return growth, small_model().fit(batches(count), epochs=5, **arguments)

    growth, _ = fit(4 * 5)  # exactly as many as there are steps
    assert {stage.depth for stage in growth.stages} == {1, 2}
    assert sum(stage.epochs for stage in growth.stages) == 5
    with pytest.raises(InputError, match="ended after 2 of the 4 steps of an epoch"), pytest.warns(UserWarning):
        fit(4 * 4 + 2)


def summed():
    return keras.losses.SparseCategoricalCrossentropy(reduction="sum")


@pytest.mark.parametrize(
    ("compiled", "given"),
    [
        ({"loss": summed}, {}),
        pytest.param({"loss_weights": [20.0]}, {}, marks=pytest.mark.one_backend),
        pytest.param({}, {"class_weight": dict.fromkeys(range(10), 20.0)}, marks=pytest.mark.one_backend),
        pytest.param({}, {"sample_weight": np.full(128, 20.0)}, marks=pytest.mark.one_backend),
    ],
    ids=["summed", "loss_weights", "class_weight", "sample_weight"],
)
def test_a_loss_of_another_size_is_no_divergence_and_a_divergence_is_one_all_the_same(arrays, compiled, given):
    (images, labels), validation = arrays
    compiled = {name: value() if callable(value) else value for name, value in compiled.items()}

    def fit(rate):
        model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=2)
        model.compile(keras.optimizers.SGD(rate), **{"loss": "sparse_categorical_crossentropy", **compiled})
        growth = DepthGrowth(None, max_depth=1)
        model.fit(
            images[:128], labels[:128], epochs=2, validation_data=validation, callbacks=growth, verbose=0, **given
        )
        return growth

    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*tenth")
        assert fit(1e-3).rate_scale == 1
    with pytest.warns(UserWarning, match="a tenth"), pytest.raises(TrainingDiverged):
        fit(1e5)


def test_the_depth_found_is_pruned_and_comes_out_compact_with_its_exits(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model(exits=[1], depth=2)
    growth = DepthGrowth(0.2, cycle_epochs=4, verbose=0)
    asked = []

    class Own(ChannelPruning):
        @staticmethod
        def score(network, groups):
            asked.append(network)
            return saliencies(network, groups)

    callbacks = [growth, Own(0.5, streams=True)]
    model.fit(images, labels, batch_size=64, epochs=8, validation_data=validation, callbacks=callbacks, verbose=0)
    assert [(stage.depth, stage.phase) for stage in growth.stages] == [(2, CYCLE), (2, PRUNE), (2, RECOVER)]
    whole = build(OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=8, exits=[1]).spec, 2)
    assert asked and 0.35 < params(model.network) / params(whole) <= 0.5
    assert len(model.network.outputs) == 2
    rebuilt = build(model.spec, 2)
    assert [w.shape for w in rebuilt.get_weights()] == [w.shape for w in model.get_weights()]
    right = np.mean(model.predict(validation[0], verbose=0)[-1].argmax(axis=-1) == validation[1])
    assert right == pytest.approx(growth.best, abs=0.005)  # rounding at a tie of two classes


@pytest.mark.one_backend
def test_a_depth_that_cannot_be_pruned_so_far_is_not_found(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model()
    growth = DepthGrowth(1.0, cycle_epochs=1, max_depth=8, verbose=0)
    budget = ChannelPruning(budget=Budget(max_flash=9000))  # depths 1 to 3 can be made to fit
    with pytest.warns(UserWarning, match="within reach at depth 1, 2, 3 only"):
        model.fit(
            *(images[:64], labels[:64]), epochs=7, validation_data=validation, callbacks=[growth, budget], verbose=0
        )
    assert growth.deepest == 3 and growth.best_depth <= 3


def test_stopped_while_channels_go_a_training_keeps_the_best_weights_from_before(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model(depth=2)
    growth = DepthGrowth(0.2, cycle_epochs=6, verbose=0)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if growth.stages[-1].phase == PRUNE and batch == self.params["steps"] - 1:
                raise KeyboardInterrupt

    arguments = {"batch_size": 64, "epochs": 12, "validation_data": validation, "verbose": 0}
    with pytest.raises(KeyboardInterrupt):
        model.fit(images, labels, **arguments, callbacks=[growth, ChannelPruning(0.7), Stop()])
    right = np.mean(model.predict(validation[0], verbose=0).argmax(axis=-1) == validation[1])
    assert right == pytest.approx(growth.best, abs=0.005) and not model.spec.inner


@pytest.mark.parametrize("optimizer", [keras.optimizers.SGD, keras.optimizers.Adam])
def test_the_average_is_one_of_weights_that_there_were_in_every_stage(arrays, optimizer):
    train, validation = arrays
    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=2)
    standing_still = keras.optimizers.schedules.PiecewiseConstantDecay([1], [0.0, 0.0])
    model.compile(optimizer(standing_still, gradient_accumulation_steps=2))
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=1, verbose=0)
    model.fit(*train, batch_size=64, epochs=3, validation_data=validation, callbacks=[growth], verbose=0)
    assert len(growth.stages) == 3
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            np.testing.assert_allclose(keras.ops.convert_to_numpy(layer.gamma), 1, atol=1e-6)


def test_other_callbacks_save_and_restore_a_network_with_exits_whose_widths_shrink(arrays, tmp_path, small_model):
    (images, labels), validation = arrays
    model = small_model(exits=[1], depth=2)
    growth = DepthGrowth(0.99, max_depth=2, cycle_epochs=2, shrink_epochs=1, verbose=0)
    model.fit(
        images,
        labels,
        batch_size=64,
        epochs=3,
        validation_data=validation,
        callbacks=[
            growth,
            keras.callbacks.EarlyStopping(monitor="val_accuracy", patience=9, restore_best_weights=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras"),
        ],
        verbose=0,
    )
    assert [stage.phase for stage in growth.stages] == [CYCLE, SHRINK]
    saved = keras.saving.load_model(tmp_path / "2.keras")
    assert [output.shape for output in saved.outputs] == [output.shape for output in model.network.outputs]
    assert model.optimizer is not None and len(model.test_on_batch(*validation)) >= 2


def test_gradients_are_clipped_while_widths_shrink_and_only_then(arrays, small_model):
    train, validation = arrays
    model = small_model(depth=1)
    growth = DepthGrowth(0.99, max_depth=1, cycle_epochs=1, shrink_epochs=1, verbose=0)
    limits = []
    look = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: limits.append(look.model.optimizer.global_clipnorm))
    model.fit(*train, epochs=2, validation_data=validation, callbacks=[growth, look], verbose=0)
    assert limits == [None, 1.0] and model.optimizer.global_clipnorm is None


def test_a_learning_rate_schedule_of_the_user_runs_on(arrays):
    (images, labels), validation = arrays
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=4)
    schedule = keras.optimizers.schedules.PolynomialDecay(0.1, decay_steps=6 * 8, end_learning_rate=0.0)
    model.compile(keras.optimizers.SGD(schedule))
    growth = DepthGrowth(1.0, max_depth=2, cycle_epochs=6, verbose=0)
    model.fit(images, labels, validation_data=validation, epochs=6, callbacks=[growth, Rates()], verbose=0)
    assert rates == pytest.approx([0.1 * (1 - epoch / 6) for epoch in range(1, 7)], abs=1e-6)


def test_a_diverging_run_says_when_and_keeps_the_best_weights(arrays, small_model):
    (images, labels), validation = arrays

    class Poison(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                weights = self.model.get_weights()
                self.model.set_weights([np.full_like(w, np.nan) for w in weights])

    model = small_model()
    growth = DepthGrowth(1.0, slack=100, verbose=0)
    with pytest.raises(TrainingDiverged, match=r"epoch 3 \(depth 1\)"):
        model.fit(images, labels, validation_data=validation, epochs=12, callbacks=[Poison(), growth], verbose=0)
    assert model.evaluate(*validation, verbose=0)[1] == pytest.approx(growth.best, abs=1e-6)


def test_mixed_precision_grows_and_ends_in_float32_probabilities(arrays, small_model):
    (images, labels), validation = arrays
    model = small_model(dtype="mixed_bfloat16")
    growth = DepthGrowth(0.99, cycle_epochs=4, verbose=0)
    model.fit(images, labels, batch_size=64, epochs=8, validation_data=validation, callbacks=[growth], verbose=0)
    assert len({stage.depth for stage in growth.stages}) > 1 and growth.best > 0.2  # guessing: 0.1
    assert keras.backend.standardize_dtype(model(images[:2]).dtype) == "float32"
    assert model.network.get_layer("stem_conv").compute_dtype == "bfloat16"
