"""A training that is cut off anywhere and resumed must end with the same bits as one that never was."""

import json
import os
import random
import signal

import keras
import numpy as np
import pytest

from odn_keras import (
    Batches,
    ChannelPruning,
    Checkpoint,
    DepthGrowth,
    EvaluationBatches,
    InputError,
    NetworkSpec,
    OptimallyDeepNetwork,
    build,
)
from odn_keras.data.augmentation import Augmentation
from odn_keras.growing import divergence, growing_fit
from odn_keras.growing.checkpoint import KEPT
from odn_keras.growing.divergence import TrainingDiverged
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, RECOVER, SHRINK
from odn_keras.networks import elastic
from odn_keras.networks.elastic import elastic_layers

EPOCHS = 4
STEPS = 6


class Cut(Exception):
    """Stands for the end of the process."""


class CutAt(keras.callbacks.Callback):
    """Does something at the end of a step of an epoch; at step `None` at the end of the epoch."""

    def __init__(self, epoch, step, action):
        super().__init__()
        self._epoch, self._step, self._action, self._now = epoch, step, action, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self._now, batch) == (self._epoch, self._step):
            self._action()

    def on_epoch_end(self, epoch, logs=None):
        if (epoch, None) == (self._epoch, self._step):
            self._action()


def cut():
    raise Cut


@pytest.fixture(autouse=True)
def interrupts_are_heeded():
    """What is started in the background, as these tests may be, has SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="module")
def train(digits):
    """Trains from the seed, growing, with a checkpoint in the folder if there is one: (model, history, growth)."""

    def run(
        folder=None,
        *others,
        rate=0.1,
        epochs=EPOCHS,
        width=4,
        seekable=True,
        cycle=2,
        max_depth=2,
        shrink=0,
        prune=0,
        seed=3,
        data_seed=3,
        optimizer=None,
        compiled=None,
        model=None,
        **network,
    ):
        keras.utils.set_random_seed(seed)
        if model is None:
            model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=width, **network)
            optimizer = optimizer or keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
            model.compile(optimizer, loss="categorical_crossentropy", **(compiled or {}))
        growth = DepthGrowth(0.99, cycle_epochs=cycle, max_depth=max_depth, shrink_epochs=shrink, verbose=0)
        split = digits.train[0][: 32 * STEPS], digits.train[1][: 32 * STEPS]
        batches = Batches(split, 10, 32, seed=data_seed, augmentation=Augmentation(shift=1))
        checkpoints = [Checkpoint(folder)] if folder else []
        prunings = [ChannelPruning(prune)] if prune else []
        history = model.fit(
            batches if seekable else NotSeekable(batches),
            epochs=epochs,
            validation_data=EvaluationBatches(digits.validation, 10, 100),
            callbacks=[growth, *checkpoints, *prunings, *others],
            verbose=0,
        )
        return model, history, growth

    return run


class NotSeekable(keras.utils.PyDataset):
    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def __len__(self):
        return len(self._batches)

    def __getitem__(self, index):
        return self._batches[index]


@pytest.fixture(scope="module")
def whole(train):
    return train()


def assert_identical(found, whole, rounding=0.0):
    (model, history, growth), (expected_model, expected_history, expected_growth) = found, whole
    assert model.depth == expected_model.depth
    for ours, theirs in zip(model.get_weights(), expected_model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert history.epoch == expected_history.epoch == list(range(len(history.epoch)))
    for name, values in expected_history.history.items():
        assert history.history[name] == pytest.approx([float(value) for value in values], rel=rounding, abs=0), name
    for ours, theirs in zip(growth.stages, expected_growth.stages, strict=True):
        ours.seconds, ours.setup_seconds = theirs.seconds, theirs.setup_seconds
        assert ours == theirs


@pytest.mark.one_backend
def test_the_training_of_these_tests_expands(whole):
    assert len({stage.depth for stage in whole[2].stages}) >= 2
    assert len(whole[1].epoch) == EPOCHS


def once(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.one_backend)


def slow(*arguments):
    return pytest.param(*arguments, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "moments",
    [
        once([(0, 2)]),
        slow([(1, None)]),
        slow([(2, 0)]),
        [(2, 3), (3, 5)],
        slow([(EPOCHS - 1, None)]),
        slow([(epoch, 1) for epoch in range(EPOCHS)]),
    ],
    ids=str,
)
def test_a_training_cut_off_anywhere_resumes_to_the_same_bits(train, whole, tmp_path, moments):
    for epoch, step in moments:
        with pytest.raises(Cut):
            train(tmp_path, CutAt(epoch, step, cut))
        random.seed(epoch)  # another process knows nothing of the first one's random numbers
    assert_identical(train(tmp_path), whole)


@pytest.mark.parametrize("moments", [[(8, 3)], slow([(9, 3), (12, 3)])], ids=str)
def test_with_exits_pruning_and_shrinking_widths_it_resumes_to_the_same_bits_too(train, tmp_path, moments):
    many = {"depth": 2, "max_depth": 2, "exits": "all", "cycle": 8, "epochs": 17, "shrink": 1, "prune": 0.5}
    whole = train(**many)
    assert [stage.phase for stage in whole[2].stages] == [CYCLE, PRUNE, RECOVER, SHRINK]
    assert whole[2].stages[2].training_macs_per_image < whole[2].stages[1].training_macs_per_image
    assert len(whole[0].network.outputs) == 2 and not elastic_layers(whole[0].network)
    assert whole[0].network.get_layer("block1_conv1").filters < 4
    for moment in moments:
        with pytest.raises(Cut):
            train(tmp_path, CutAt(*moment, cut), **many)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, CutAt(14, 2, lambda: signal.raise_signal(signal.SIGINT)), **many)
    assert_identical(train(tmp_path, **many), whole)


@pytest.mark.one_backend
def test_cut_while_the_head_of_a_start_is_trained_it_resumes_to_the_same_bits(train, digits, tmp_path):
    plain = {"max_depth": 1, "cycle": EPOCHS}
    started = plain | {"start_from": build(NetworkSpec("resnet18", digits.input_shape, 3, width=4), 1)}
    expected = train(**started)
    assert [stage.phase for stage in expected[2].stages][:2] == [HEAD, CYCLE]
    with pytest.raises(Cut):
        train(tmp_path, CutAt(1, 2, cut), **started)
    assert_identical(train(tmp_path, **started), expected)
    with pytest.raises(InputError, match="carried"):
        train(tmp_path, **plain)


def test_a_finished_training_is_not_trained_again_and_says_so(train, whole, tmp_path):
    model, _, _ = train(tmp_path)
    with pytest.warns(UserWarning, match=f"the training in {tmp_path} is complete: nothing more is trained"):
        assert_identical(train(tmp_path, CutAt(EPOCHS - 1, 0, cut)), whole)
    with pytest.raises(InputError, match=f"the training in {tmp_path} is complete, .* give Checkpoint another folder"):
        train(tmp_path, model=model)


@pytest.mark.one_backend
def test_steps_that_are_executed_several_at_once_are_resumed_with_their_metrics(train, tmp_path):
    several = {"compiled": {"steps_per_execution": 2}, "shrink": 1, "prune": 0.3, "epochs": 5, "max_depth": 1}
    expected = train(**several)
    for epoch, step in ((1, 3), (4, 1)):
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path, CutAt(epoch, step, lambda: signal.raise_signal(signal.SIGINT)), **several)
        assert any(f"epoch{epoch:06}-step{step + 1:08}" in name for name in os.listdir(tmp_path))
    assert_identical(train(tmp_path, **several), expected, rounding=1e-6)  # a sum in another order


@pytest.mark.one_backend
def test_shrunk_widths_depend_on_the_seed_and_not_on_where_a_run_was_cut(monkeypatch, train):
    drawn = []
    monkeypatch.setattr(elastic, "set_widths", lambda network, fractions: drawn.append(list(fractions)))
    widths = []
    for seed in (3, 3, 4):
        drawn.clear()
        train(seed=seed, cycle=1, epochs=2, shrink=1, depth=2)
        widths.append([fractions for fractions in drawn if fractions != [1.0] * len(fractions)])
    assert widths[0] == widths[1] != widths[2]


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("optimizer", "most"), [(keras.optimizers.SGD(0.1, momentum=0.9), 4), (keras.optimizers.Adam(0.01), 5)]
)
def test_checkpoints_are_as_large_as_documented(train, tmp_path, optimizer, most):
    model, _, growth = train(tmp_path, width=64, optimizer=optimizer, epochs=2, max_depth=1)
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    weights = sum(values.nbytes for values in build(model.spec, growth.stages[-1].depth).get_weights())
    assert len(sizes) == KEPT and (most - 1) < max(sizes) / weights < most * 1.1


@pytest.mark.parametrize(("number", "error"), [once(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_signal_lets_the_step_finish_and_loses_nothing(train, whole, tmp_path, number, error):
    def terminate(*_):
        raise SystemExit(143)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        with pytest.raises(error):
            train(tmp_path, CutAt(3, 2, lambda: signal.raise_signal(number)))
        assert signal.getsignal(signal.SIGTERM) is terminate  # as it was
    finally:
        signal.signal(signal.SIGTERM, before)
    assert any("epoch000003-step00000003" in name for name in os.listdir(tmp_path))
    seen = []
    assert_identical(train(tmp_path, CutAt(3, 2, lambda: seen.append("step done twice"))), whole)
    assert not seen


@pytest.mark.one_backend
def test_a_signal_after_the_last_step_is_heeded_and_not_kept_for_the_next_training(tmp_path):
    checkpoint = Checkpoint(tmp_path)
    with pytest.raises(KeyboardInterrupt), checkpoint.deferring_signals():
        signal.raise_signal(signal.SIGINT)
    with pytest.raises(Cut), checkpoint.deferring_signals():
        signal.raise_signal(signal.SIGINT)
        raise Cut
    assert not checkpoint.stop_requested and signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.one_backend
def test_data_without_seek_resumes_at_the_epoch(train, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, CutAt(3, 2, lambda: signal.raise_signal(signal.SIGINT)), seekable=False)
    assert any("epoch000003-step00000000" in name for name in os.listdir(tmp_path))
    _, history, _ = train(tmp_path, seekable=False)
    assert history.epoch == list(range(EPOCHS))


@pytest.mark.one_backend
def test_a_cut_while_a_checkpoint_is_written_leaves_the_one_before(train, whole, tmp_path, monkeypatch):
    replace, calls = os.replace, []

    def cut_short(source, target):
        calls.append(target)
        if len(calls) == 4:
            with open(source, "r+b") as file:
                file.truncate(1000)
            raise Cut
        replace(source, target)

    with monkeypatch.context() as patched, pytest.raises(Cut):
        patched.setattr(os, "replace", cut_short)
        train(tmp_path)
    assert_identical(train(tmp_path), whole)


@pytest.mark.one_backend
@pytest.mark.parametrize("damage", ["one bit", slow("truncated"), slow("empty")])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_used(train, whole, tmp_path, damage):
    with pytest.raises(Cut):
        train(tmp_path, CutAt(3, 0, cut))
    files = sorted(tmp_path.iterdir())
    assert len(files) == KEPT
    content = bytearray(files[-1].read_bytes())
    if damage == "one bit":
        content[len(content) // 2] ^= 1
    files[-1].write_bytes({"truncated": content[:-100], "one bit": content, "empty": b""}[damage])
    with pytest.warns(UserWarning, match=r"damaged: the one before"):
        assert_identical(train(tmp_path), whole)


@pytest.mark.one_backend
def test_without_an_intact_checkpoint_there_is_one_clear_line(train, tmp_path):
    with pytest.raises(Cut):
        train(tmp_path, CutAt(2, 0, cut))
    for file in tmp_path.iterdir():
        file.write_bytes(b"")
    with pytest.raises(InputError, match=r"no checkpoint in .* is intact"), pytest.warns(UserWarning):
        train(tmp_path)


@pytest.mark.one_backend
def test_a_checkpoint_of_another_training_is_refused(train, tmp_path):
    with pytest.raises(Cut):
        train(tmp_path, CutAt(2, 0, cut))
    with pytest.raises(InputError, match=r"another training: width was 4, is 8"):
        train(tmp_path, width=8)
    with pytest.raises(InputError, match=rf"another training: epochs was {EPOCHS}, is 9"):
        train(tmp_path, epochs=9)


@pytest.mark.one_backend
def test_a_checkpoint_of_a_version_that_decided_otherwise_is_refused(train, tmp_path, monkeypatch):
    with monkeypatch.context() as earlier, pytest.raises(Cut):
        earlier.setitem(growing_fit.SEARCH_NUMBERS, "pace", 0.5)
        train(tmp_path, CutAt(2, 0, cut))
    with pytest.raises(InputError, match=r"another training: search_pace was 0.5, is 0.95; "):
        train(tmp_path)


@pytest.mark.one_backend
def test_batches_in_another_order_are_another_training(train, tmp_path):
    train(tmp_path, epochs=2)
    with pytest.raises(InputError, match=r"data was .*'seed': 3.* is .*'seed': 4"):
        train(tmp_path, epochs=2, data_seed=4)


@pytest.mark.one_backend
def test_a_stop_by_another_callback_is_remembered(train, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = epoch == 2

    train(tmp_path, Stop())
    with pytest.warns(UserWarning, match="is complete"):
        _, history, _ = train(tmp_path)
    assert history.epoch == [0, 1, 2]


class Poison(keras.callbacks.Callback):
    """Makes the head's weights NaN at a step of an epoch, so many times."""

    def __init__(self, epoch, times, step=1):
        super().__init__()
        self._epoch, self._step, self.left, self._now = epoch, step, times, 0

    def on_epoch_begin(self, epoch, logs=None):
        self._now = epoch

    def on_train_batch_begin(self, batch, logs=None):
        if (self._now, batch) == (self._epoch, self._step) and self.left:
            self.left -= 1
            kernel = self.model.get_layer("head").kernel
            kernel.assign(keras.ops.full(kernel.shape, np.nan))


@pytest.mark.parametrize("epoch", [once(0), 3])
def test_a_divergence_goes_back_once_with_a_tenth_of_the_rate(train, tmp_path, monkeypatch, epoch):
    if epoch:  # noticed in the middle of the epoch, else at its end
        monkeypatch.setattr(divergence, "CHECKED_EVERY", 2)
    with pytest.warns(UserWarning, match=f"became nan in epoch {epoch + 1} .*a tenth"):
        model, history, growth = train(tmp_path, Poison(epoch, times=1))
    assert growth.rate_scale == 0.1 and len(history.epoch) == EPOCHS
    assert np.isfinite(history.history["loss"]).all()
    assert all(np.isfinite(weights).all() for weights in model.get_weights())


@pytest.mark.one_backend
def test_a_divergence_after_a_resume_lowers_the_rate_too(train, tmp_path, monkeypatch):
    monkeypatch.setattr(divergence, "CHECKED_EVERY", 2)
    peak = {"cycle": EPOCHS, "max_depth": 1}  # at which the rate is in the second epoch
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, CutAt(1, 1, lambda: signal.raise_signal(signal.SIGINT)), **peak)
    rates = []

    class Rates(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch, logs=None):
            rates.append(float(self.model.optimizer.learning_rate))

    with pytest.warns(UserWarning, match="a tenth"):
        train(tmp_path, Rates(), Poison(1, times=1, step=2), **peak)
    assert rates[:2] == pytest.approx([0.1, 0.1]) and rates[2:6] == pytest.approx([0.01] * 4)


@pytest.mark.one_backend
def test_a_second_divergence_ends_the_training_on_the_best_weights(train):
    with pytest.warns(UserWarning, match="a tenth"), pytest.raises(TrainingDiverged, match="lower the learning rate"):
        train(None, Poison(3, times=2))


def test_an_exploding_loss_is_a_divergence(train):
    class Explode(Poison):
        def on_train_batch_begin(self, batch, logs=None):
            if self._now == self._epoch and self.left:
                head = self.model.get_layer("head")
                head.bias.assign(np.eye(10, dtype="float32")[0] * 1e6)

    with pytest.warns(UserWarning, match=r"loss became \d"), pytest.raises(TrainingDiverged):
        train(None, Explode(2, times=1))


@pytest.mark.one_backend
def test_beside_nothing_to_grow_a_checkpoint_says_what_to_take(train, digits, tmp_path):
    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=2)
    model.compile()
    with pytest.raises(InputError, match="BackupAndRestore"):
        model.fit(*digits.train, callbacks=[Checkpoint(tmp_path)], verbose=0)


@pytest.mark.one_backend
def test_the_state_is_readable(train, tmp_path):
    """A checkpoint is a plain .npz with JSON: nothing in it can run code."""
    with pytest.raises(Cut):
        train(tmp_path, CutAt(1, 0, cut))
    with np.load(max(tmp_path.iterdir()), allow_pickle=False) as stored:
        state = json.loads(stored["state"].tobytes())
    assert state["epoch"] == 1 and state["growth"]["stages"][0]["depth"] == 1
