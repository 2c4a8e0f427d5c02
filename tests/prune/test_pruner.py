import keras
import numpy as np
import pytest

from odn_keras import (
    Budget,
    ChannelPruning,
    InputError,
    NetworkSpec,
    OptimallyDeepNetwork,
    build,
    footprint,
    prune,
    spec_of,
)
from odn_keras.networks.cost import params
from odn_keras.prune.pruner import Pruner, PruningPlan

SPEC = NetworkSpec("resnet18", (8, 8, 1), 10, width=8)


def fit(network, digits, *callbacks, optimizer="sgd", epochs=3, **arguments):
    images, labels = digits.train
    network.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False)
    return network.fit(
        images[:512].astype("float32"),
        labels[:512],
        batch_size=64,
        epochs=epochs,
        verbose=0,
        callbacks=list(callbacks),
        **arguments,
    )


def share_left(network):
    return params(prune.compact(network)) / params(network)


class Watch(keras.callbacks.Callback):
    """Parameters of the compact network after each epoch."""

    def on_train_begin(self, logs=None):
        self.seen = []

    def on_epoch_end(self, epoch, logs=None):
        try:
            self.seen.append(params(prune.compact(self.model)))
        except InputError:
            self.seen.append(params(self.model))


@pytest.mark.parametrize(
    ("optimizer", "streams"), [("adam", True), pytest.param("sgd", False, marks=pytest.mark.one_backend)]
)
def test_the_asked_share_goes_step_by_step_and_is_exactly_zero(digits, streams, optimizer):
    network, watch = build(SPEC, 2), Watch()
    fit(network, digits, ChannelPruning(0.6, streams=streams), watch, optimizer=optimizer, epochs=4)
    assert 0.33 < share_left(network) <= 0.4
    assert params(network) > watch.seen[0] > watch.seen[-1] and watch.seen == sorted(watch.seen, reverse=True)
    small = prune.compact(network)
    images = digits.test[0][:20].astype("float32")
    np.testing.assert_allclose(small.predict(images, verbose=0), network.predict(images, verbose=0), atol=1e-4)


@pytest.mark.one_backend
def test_what_is_gone_stays_zero_under_momentum_and_averaged_weights(digits):
    network = build(SPEC, 1)
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9, weight_decay=1e-3, use_ema=True, ema_momentum=0.9)
    validation = tuple(part[:50].astype("float32") for part in digits.validation)
    fit(network, digits, ChannelPruning(0.5), optimizer=optimizer, validation_data=validation)
    assert share_left(network) <= 0.5


@pytest.mark.one_backend
def test_a_network_with_exits_is_pruned_without_growing(digits):
    model = OptimallyDeepNetwork("resnet18", (8, 8, 1), 10, width=8, depth=2, exits=[1])
    fit(model, digits, ChannelPruning(0.5))
    small = prune.compact(model.network)
    assert params(small) <= 0.5 * params(model.network) and len(small.outputs) == 2


@pytest.mark.one_backend
def test_of_a_budget_no_more_is_taken_than_it_needs(digits):
    network = build(SPEC, 2)
    whole, budget = footprint.flash_bytes(SPEC, 2), Budget(max_flash=6000)
    fit(network, digits, ChannelPruning(budget=budget))
    flash = footprint.flash_bytes(spec_of(prune.compact(network), SPEC), 2)
    assert 5700 < flash <= 6000 < whole


@pytest.mark.one_backend
def test_a_budget_may_be_one_of_multiply_accumulates():
    network, most = build(SPEC, 2), int(0.7 * footprint.macs(SPEC, 2))
    Pruner(network, PruningPlan(budget=Budget(max_macs=most)), steps=1).after_step(0)
    assert 0.9 * most < footprint.macs(spec_of(prune.compact(network), SPEC), 2) <= most


@pytest.mark.one_backend
def test_the_flagfile_of_mlperf_tinys_size_is_predicted_to_keep_it():
    """As flags/cifar10_98kb.txt has it: four blocks of width 32, 53 % of the parameters removed."""
    network = build(NetworkSpec("resnet18", (32, 32, 3), 10, width=32), 4)
    Pruner(network, PruningPlan(0.53), steps=1).after_step(0)
    assert 90_000 < footprint.Footprint.of(prune.compact(network)).flash_bytes <= 98_496


@pytest.mark.one_backend
def test_an_arena_needs_the_streams(digits):
    network = build(NetworkSpec("resnet18", (28, 28, 1), 10, width=8), 1)
    plan = PruningPlan(budget=Budget(max_arena=16_000), streams=True)
    pruner = Pruner(network, plan, steps=100)
    for step in range(100):
        pruner.after_step(step)
    small = prune.compact(network)
    assert 13_000 < footprint.Footprint.of(small).arena_bytes <= 16_000
    with pytest.raises(InputError, match=r"with streams=True \(--prune_streams\) more can go"):
        Pruner(network, PruningPlan(budget=Budget(max_arena=8_000)), steps=100)


@pytest.mark.one_backend
@pytest.mark.parametrize("sparsity", [0.6, 0.8])
def test_no_block_is_left_with_next_to_nothing_for_being_the_largest(sparsity):
    keras.utils.set_random_seed(0)
    network = build(NetworkSpec("resnet18", (28, 28, 1), 10, width=16), 3)
    Pruner(network, PruningPlan(sparsity), steps=1).after_step(0)
    small = prune.compact(network)
    left = [
        small.get_layer(f"block{n}_conv1").filters / network.get_layer(f"block{n}_conv1").filters for n in (1, 2, 3)
    ]
    assert share_left(network) <= 1 - sparsity and min(left) > 0.4 * (1 - sparsity)


@pytest.mark.one_backend
def test_a_pruner_resumes_from_its_state():
    networks = [build(SPEC, 2) for _ in range(2)]
    networks[1].set_weights(networks[0].get_weights())
    whole, first = (Pruner(network, PruningPlan(0.7), steps=300) for network in networks)
    for step in range(300):
        whole.after_step(step)
        if step < 97:
            first.after_step(step)
    second = Pruner(networks[1], PruningPlan(0.7), steps=300)
    second.restore(first.state())
    for step in range(97, 300):
        second.after_step(step)
    for one, other in zip(networks[0].get_weights(), networks[1].get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.one_backend
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"sparsity": 1.0}, r"in \[0, 1\), got 1.0"),
        ({"sparsity": -0.1}, r"in \[0, 1\), got -0.1"),
        ({}, "takes a sparsity or a budget, got None and None"),
        ({"sparsity": 0.5, "budget": Budget(1000)}, "takes a sparsity or a budget"),
        ({"budget": Budget(max_latency_ms=1.0)}, "max_flash, max_arena and max_macs, got a budget of max_latency_ms=1"),
        ({"budget": Budget()}, "got a budget of no limit"),
        ({"sparsity": 0.5, "start": 0.5, "end": 0.5}, "0 <= start < end <= 1, got 0.5 and 0.5"),
    ],
)
def test_plans_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        ChannelPruning(**arguments)


@pytest.mark.one_backend
def test_goals_that_cannot_be_reached_are_refused_when_training_begins(digits):
    network = build(SPEC, 1)
    with pytest.raises(InputError, match=r"one channel a group the network still has .* of parameters"):
        fit(network, digits, ChannelPruning(0.99))
    with pytest.raises(InputError, match=r"still has 3,[0-9]+ of flash bytes, not 1,000 of flash bytes"):
        fit(network, digits, ChannelPruning(budget=Budget(max_flash=1000)))


@pytest.mark.one_backend
def test_a_growing_run_reports_the_depth_between_at_which_too_little_can_go():
    spec = NetworkSpec("resnet50", (8, 8, 1), 10, width=16, exits=(2,))
    assert ChannelPruning(0.7).check(spec, 1, 16) == list(range(1, 17))
    within = ChannelPruning(0.75).check(spec, 1, 16)
    assert 4 not in within and {1, 16} < set(within)
    with pytest.raises(InputError, match="at depth 4: pruned to one channel a group"):
        ChannelPruning(0.75).check(spec, 4, 4)


@pytest.mark.one_backend
@pytest.mark.parametrize("backbone", ["resnet18", "resnet50", "ds_cnn", "mobilenetv2"])
@pytest.mark.parametrize("streams", [False, True])
def test_what_can_be_reached_is_counted_as_a_pruner_counts_it(backbone, streams):
    spec = NetworkSpec(backbone, (8, 8, 3), 10, width=4, exits=(2,))
    for depth in (1, 3, 4):
        network = build(spec, depth)
        pruner = Pruner(network, PruningPlan(0.1, streams=streams), steps=1)
        least = pruner._sizes(dict.fromkeys(pruner._groups, 1))["parameters"]
        most = 1 - least / params(network)
        assert ChannelPruning(most - 1e-6, streams=streams).check(spec, depth, depth) == [depth]
        with pytest.raises(InputError, match=f"still has {least:,} of parameters"):
            ChannelPruning(most + 1e-3, streams=streams).check(spec, depth, depth)


@pytest.mark.one_backend
def test_a_training_that_resumes_at_a_later_epoch_has_a_window_of_its_own(digits):
    network, watch = build(SPEC, 1), Watch()
    fit(network, digits, ChannelPruning(0.5, end=1.0), watch, epochs=10, initial_epoch=8)
    assert params(network) > watch.seen[0] > watch.seen[1] and share_left(network) <= 0.5


@pytest.mark.one_backend
def test_steps_that_are_executed_several_at_once_are_pruned_all_the_same():
    networks = [build(SPEC, 1) for _ in range(2)]
    networks[1].set_weights(networks[0].get_weights())
    for network, at_once in zip(networks, (1, 7), strict=True):
        pruner = Pruner(network, PruningPlan(0.5, end=0.5), steps=700)
        held = [step for step in range(at_once - 1, 700, at_once) if pruner.due(step) and not pruner.after_step(step)]
        assert held[-1] > 690  # to the end: an optimizer moves what is gone
    assert [share_left(network) <= 0.5 for network in networks] == [True, True]


def test_a_growing_run_prunes_in_another_window_unless_one_is_given():
    usual, own = prune.ChannelPruning(0.5), prune.ChannelPruning(0.5, start=0.2)
    assert usual.of_trained().plan.end < usual.plan.end
    assert own.of_trained().plan == own.plan and own.plan.end == usual.plan.end
