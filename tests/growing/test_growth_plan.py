"""What the growth decides, played without Keras on accuracies that are known beforehand."""

import numpy as np
import pytest

from odn_keras import InputError
from odn_keras.growing.growth_plan import FitConditions, GrowthPlan, GrowthRules, forecast_end, meets
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, RECOVER, SETTLE, SHRINK, Stage


class Growth:
    """Plays a run by its plan alone, without Keras; the arguments are those of `DepthGrowth`.

    Attributes:
        stages: the stages of the run that was played last.
    """

    def __init__(self, target, **given):
        usual = {"monitor": "val_accuracy", "max_depth": None, "cycle_epochs": None, "freeze": "none"}
        self._rules = GrowthRules(target, **{**usual, "slack": 1.0, "shrink_epochs": 0, **given})

    def begin(self, depth=1, deepest=8, epochs=40, steps=100, **conditions):
        fit = FitConditions(depth=depth, deepest=deepest, epochs=epochs, steps=steps, **conditions)
        self.plan, self.stages = GrowthPlan.of(self._rules, fit), []
        return self.plan.first_stage()

    def play(self, accuracy, steps=100, **conditions):
        """`accuracy(stage, progress)` is measured at each check. Returns (depth, phase, epochs) of each stage."""
        stage = self.begin(steps=steps, **conditions)
        while stage is not None:
            self.stages.append(stage)
            step = stage.first_step
            while not self.plan.is_over(self.stages):
                before, step = step, min(step + 1, stage.end_step)
                value, ends_epoch = accuracy(stage, stage.progress_at(step)), step % steps == 0
                within = not conditions.get("whole_epochs") and self.plan.wants_check(self.stages, before, step)
                if ends_epoch:
                    stage.values.append(value)
                if ends_epoch or within:
                    stage.checks.append((step, value))
                if ends_epoch or within or step == stage.end_step:
                    stage.steps = step - stage.first_step
            stage = self.plan.next_stage(self.stages)
        return [(stage.depth, stage.phase, stage.epochs) for stage in self.stages]

    @property
    def best(self):
        return self.plan.best(self.stages)

    @property
    def target_met(self):
        return None if self._rules.target is None else meets(self._rules.target, self.best.value)


def rising(end):
    """An accuracy whose odds are a power of the progress; `end` of a stage is what it comes to."""

    def accuracy(stage, progress):
        odds = end(stage) / (1 - end(stage)) * progress**0.4
        return odds / (1 + odds)

    return accuracy


def depths(run):
    return [depth for depth, phase, _ in run if phase == CYCLE]


def test_grows_one_block_at_a_time_until_the_target_is_met():
    growth = Growth(0.9, cycle_epochs=10)
    run = growth.play(rising(lambda s: min(0.6 + 0.08 * s.depth, 0.99)))
    assert depths(run) == [1, 2, 3, 4]
    assert growth.target_met and growth.best.depth == 4 and growth.stages[-1].complete


def test_the_search_costs_little_more_than_training_the_depth_found_would():
    growth = Growth(0.9, cycle_epochs=10)
    growth.play(rising(lambda s: min(0.6 + 0.08 * s.depth, 0.99)), cost=lambda depth: 1 + 2 * depth)
    spent = sum(stage.epochs * (1 + 2 * stage.depth) for stage in growth.stages)
    assert 1 <= spent / (10 * 9) < 1.2


def test_a_depth_is_left_the_sooner_the_farther_it_is_from_the_target():
    epochs = [
        Growth(target, cycle_epochs=12, slack=2).play(rising(lambda s: 0.8))[0][2] for target in (0.95, 0.82, 0.81)
    ]
    assert epochs == sorted(epochs) and epochs[0] < epochs[-1]


def test_data_that_cannot_be_cut_within_an_epoch_are_decided_on_after_epochs():
    growth = Growth(0.9, cycle_epochs=10, freeze="prefix")
    run = growth.play(rising(lambda s: 0.7 if s.depth == 1 else 0.95), whole_epochs=True)
    assert all(epochs == round(epochs) for _, _, epochs in run) and run[1][:2] == (2, SETTLE)
    assert growth.target_met and growth.best.depth == 2


def test_nothing_is_decided_in_the_warm_up():
    growth = Growth(0.99, cycle_epochs=10)
    assert growth.play(rising(lambda s: 0.5))[0][2] == 2.5  # three checks after the warm-up, of 1 epoch


def test_in_a_long_cycle_hopeless_depths_are_left_after_some_hundred_steps_which_count_for_little():
    growth = Growth(0.9, cycle_epochs=20)
    growth.play(rising(lambda s: 0.7 if s.depth < 4 else 0.95), steps=1000)
    *hopeless, last = growth.stages
    assert [stage.depth for stage in growth.stages] == [1, 2, 3, 4] and last.complete
    assert all(stage.steps < 1500 for stage in hopeless)
    assert last.progress <= 0.025 and last.steps >= 19_000  # 500 steps: it has nearly the whole cycle for itself


def test_of_a_long_cycle_a_twentieth_lies_between_checks_once_a_quarter_is_done():
    growth = Growth(0.9, cycle_epochs=20)
    growth.play(rising(lambda s: 0.9), steps=1000)
    distances = np.diff([step for step, _ in growth.stages[0].checks if step % 1000])
    assert 150 in distances and 1000 not in distances
    late = [step for step, _ in growth.stages[0].checks if 5000 < step <= 18_000]
    assert all(np.diff(late) == 1000)


@pytest.mark.parametrize(
    "cycle, rules, conditions, share",
    [
        (10, {}, {}, 1.0),
        (60, {}, {}, 0.5),
        (60, {"freeze": "prefix"}, {}, 1.0),
        (60, {}, {"carried": True}, 1.0),
    ],
)
def test_in_a_long_cycle_a_deeper_network_takes_only_a_share_of_the_weights_over(cycle, rules, conditions, share):
    growth = Growth(0.9, cycle_epochs=cycle, **rules)
    growth.play(rising(lambda s: 0.5 if s.depth == 1 else 0.95), epochs=2 * cycle, **conditions)
    shares = {depth: {stage.carried_share for stage in growth.stages if stage.depth == depth} for depth in (1, 2)}
    assert shares == {1: {1.0}, 2: {share}}


def test_a_larger_share_is_taken_over_where_only_a_part_of_the_long_cycle_is_left():
    def nearly(stage, progress):
        return min(rising(lambda s: 0.95)(stage, progress), 0.899 if stage.depth == 1 else 0.95)

    growth = Growth(0.9, cycle_epochs=60)
    growth.play(nearly, epochs=100)
    assert [(stage.depth, stage.epochs, stage.carried_share) for stage in growth.stages] == [(1, 60, 1), (2, 40, 0.75)]


def test_slack_keeps_a_depth_longer():
    epochs = [Growth(0.82, cycle_epochs=12, slack=slack).play(rising(lambda s: 0.8))[0][2] for slack in (0.0, 1.0, 4.0)]
    assert epochs == sorted(epochs) and epochs[0] < epochs[-1]


def test_a_slow_beginning_is_not_taken_for_the_end():
    def late(stage, progress):  # as of a hard dataset: nothing for a while, then all at once
        return 0.03 + 0.95 / (1 + np.exp(-16 * (progress - 0.35)))

    growth = Growth(0.93, cycle_epochs=10)
    assert depths(growth.play(late)) == [1] and growth.target_met


def test_the_last_epochs_shrink_the_widths_of_the_best_depth():
    growth = Growth(0.9, cycle_epochs=5, shrink_epochs=4)
    assert growth.play(rising(lambda s: 0.99), epochs=20)[-2:] == [(1, CYCLE, 5), (1, SHRINK, 4)]
    growth = Growth(0.9, cycle_epochs=5, shrink_epochs=4)
    with pytest.raises(InputError, match=r"without shrink_epochs \(4\) \(4\)"):
        growth.begin(epochs=8)


def test_pruning_has_a_cycle_of_its_own_once_the_depth_is_forecast_to_do():
    growth = Growth(0.9, cycle_epochs=8)
    run = growth.play(rising(lambda s: 0.99 if s.depth > 1 else 0.7), epochs=40, removal=0.6)
    assert run[-2:] == [(2, PRUNE, 5), (2, RECOVER, 3)]
    assert not growth.stages[-3].complete  # it need not be trained to its end
    prune, recover = growth.stages[-2:]
    assert prune.cycle_steps == (800, 0) and recover.cycle_steps == (800, 500)


def test_what_pruning_leaves_counts_while_channels_go_and_the_best_epoch_after_that():
    def worse_and_worse(stage, progress):
        ends = {CYCLE: [0.95], PRUNE: [0.94, 0.92], RECOVER: [0.93, 0.92, 0.91]}[stage.phase]
        return ends[min(len(stage.values), len(ends) - 1)]

    growth = Growth(0.9, cycle_epochs=5)
    run = growth.play(worse_and_worse, epochs=40, removal=0.4)
    assert run[-2:] == [(1, PRUNE, 2), (1, RECOVER, 3)] and growth.best.value == 0.93
    growth = Growth(0.9, cycle_epochs=8)
    run = growth.play(rising(lambda s: 0.99), removal=1.0)
    assert run[-1] == (1, PRUNE, 8)


def test_the_best_depth_is_pruned_where_none_reaches_the_target():
    growth = Growth(0.99, cycle_epochs=4, max_depth=2, shrink_epochs=3, slack=100)
    run = growth.play(rising(lambda s: 0.8 if s.depth == 1 else 0.7), epochs=30, removal=0.6)
    assert [(depth, phase) for depth, phase, _ in run[-3:]] == [(1, PRUNE), (1, RECOVER), (1, SHRINK)]
    with pytest.raises(InputError, match=r"a second cycle of cycle_epochs \(4\), fit has 5 epochs"):
        growth.begin(epochs=8, removal=0.6)


def test_the_target_comes_before_pruning():
    growth = Growth(0.9, cycle_epochs=10)
    run = growth.play(rising(lambda s: 0.95 if s.depth == 4 else 0.6), epochs=20, removal=0.6)
    assert growth.stages[-1].phase in (PRUNE, RECOVER) and 4 in depths(run)
    assert growth.best.depth == 4 and sum(epochs for _, _, epochs in run) <= 20


def test_a_first_depth_that_is_good_enough_is_not_deepened():
    growth = Growth(0.9, cycle_epochs=5)
    assert growth.play(rising(lambda s: 0.99)) == [(1, CYCLE, 5)]
    assert growth.target_met


@pytest.mark.parametrize("epochs", range(4, 24))
@pytest.mark.parametrize("whole_epochs", [False, True])
@pytest.mark.parametrize("freeze", ["none", "prefix"])
@pytest.mark.parametrize("steps", [5, 100])
def test_no_epoch_is_left_over_while_the_target_is_missed_and_the_rate_falls_at_the_end(
    epochs, whole_epochs, freeze, steps
):
    growth = Growth(0.99, cycle_epochs=4, freeze=freeze)
    run = growth.play(rising(lambda s: 0.5), epochs=epochs, whole_epochs=whole_epochs, steps=steps)
    assert sum(trained for _, _, trained in run) == pytest.approx(epochs)
    last = growth.stages[-1]
    assert last.complete and last.phase == CYCLE and last.progress <= 0.75 and last.end_progress == 1
    assert all(stage.first_step < stage.last_step <= stage.end_step for stage in growth.stages)
    if freeze == "none":
        assert last.progress <= 0.5


def test_a_deepest_network_that_misses_the_target_is_trained_on():
    growth = Growth(0.9, max_depth=1)
    run = growth.play(rising(lambda s: 0.8), epochs=60)
    assert run == [(1, CYCLE, 20), (1, CYCLE, 20), (1, CYCLE, 20)]


def test_a_target_hit_exactly_is_met_although_metrics_are_float32():
    growth = Growth(0.993, cycle_epochs=2)
    growth.play(lambda stage, progress: float(np.float32(0.993)))
    assert growth.target_met


def test_of_equally_good_depths_the_shallower_is_kept():
    growth = Growth(0.9, cycle_epochs=2, slack=100)
    growth.play(lambda stage, progress: 0.5, deepest=3, whole_epochs=True)
    assert growth.best.depth == 1


def test_max_depth_ends_the_growth():
    run = Growth(0.99, max_depth=2, cycle_epochs=4).play(rising(lambda s: 0.5))
    assert max(depths(run)) == 2


def test_without_a_target_the_models_depth_has_all_epochs_and_no_verdict():
    growth = Growth(None, max_depth=3)
    half = rising(lambda s: 0.5)
    assert growth.play(half, depth=3, epochs=20) == [(3, CYCLE, 20)]
    assert growth.target_met is None and growth.best.depth == growth.plan.deepest == 3
    assert growth.play(half, depth=3, epochs=20, removal=0.2) == [
        (3, CYCLE, 10), (3, PRUNE, 2), (3, RECOVER, 8),
    ]  # fmt: skip
    growth = Growth(None, max_depth=3, cycle_epochs=4, shrink_epochs=5)
    assert growth.play(half, depth=3, epochs=20) == [(3, CYCLE, 4), (3, SHRINK, 5)]
    for max_depth in (None, 4):
        with pytest.raises(InputError, match=f"max_depth must be 3, got {max_depth}"):
            Growth(None, max_depth=max_depth).begin(depth=3, epochs=20)


def test_a_cycle_that_misses_the_target_after_all_is_followed_by_another_depth():
    growth = Growth(0.9, slack=100, cycle_epochs=8)
    run = growth.play(rising(lambda s: 0.899 if s.depth == 1 else 0.95))
    assert run[0] == (1, CYCLE, 8)
    assert growth.stages[1].progress <= 0.5  # the falling rate is the deeper network's
    assert growth.target_met and growth.best.depth == 2


def test_a_depth_that_cannot_be_pruned_so_far_is_not_found():
    growth = Growth(0.6, cycle_epochs=4)
    run = growth.play(rising(lambda s: 0.99), removal=0.25, results=[1, 3, 4], steps=100)
    assert run[-1] == (1, RECOVER, 3)
    growth = Growth(0.9, cycle_epochs=4)  # met at depth 2, which cannot be pruned so far
    run = growth.play(rising(lambda s: 0.5 if s.depth == 1 else 0.99), removal=0.25, results=[1, 3, 4])
    assert (2, PRUNE, 1) not in run and run[-1] == (3, RECOVER, 3) and growth.plan.deepest == 4


def test_on_carried_blocks_the_head_is_trained_first_and_growth_begins_at_their_depth():
    growth = Growth(0.9, cycle_epochs=10)
    stages = growth.play(rising(lambda stage: 0.5 if stage.depth == 2 else 0.95), depth=2, carried=True)
    assert stages[0] == (2, HEAD, 0.5) and stages[1][:2] == (2, CYCLE) and stages[-1][:2] == (3, CYCLE)
    assert growth.stages[1].progress == growth.stages[0].end_progress == 0.05


def test_where_the_head_would_take_half_of_a_short_cycle_it_is_not_trained_alone():
    assert Growth(0.9, cycle_epochs=1).begin(steps=15, carried=True).phase == CYCLE
    assert Growth(0.9, cycle_epochs=1).begin(whole_epochs=True, carried=True).phase == CYCLE
    assert Growth(0.9, cycle_epochs=2).begin(whole_epochs=True, carried=True).phase == HEAD


def test_where_the_newest_block_would_take_half_of_what_is_left_it_is_not_trained_alone():
    half = rising(lambda s: 0.5)
    growth = Growth(0.99, cycle_epochs=2, freeze="prefix")
    growth.play(half, epochs=3, whole_epochs=True)
    assert growth.stages[-1].phase == CYCLE and all(stage.steps for stage in growth.stages)
    growth = Growth(0.99, cycle_epochs=2, freeze="prefix")
    assert sum(epochs for *_, epochs in growth.play(half, epochs=3, steps=5)) == 3


def test_a_cycle_that_ends_below_the_target_is_not_found_whatever_its_last_check():
    growth = Growth(0.99, cycle_epochs=4)
    stage = growth.begin(removal=0.25)
    stage.steps, stage.values, stage.checks = 400, [0.5, 0.8, 0.97, 0.9895], [(300, 0.9705), (400, 0.9905)]
    following = growth.plan.next_stage([stage])
    assert (following.depth, following.phase) == (2, CYCLE)


def test_what_the_head_alone_came_to_says_nothing_of_how_checks_differ_from_all_images():
    head = Stage(2, HEAD, 0, 100, 100, end_progress=0.25, steps=100, values=[0.5], checks=[(100, 0.5)])
    cycle = Stage(2, CYCLE, 100, 400, 100, progress=0.25, steps=300, values=[0.6, 0.7, 0.8])
    cycle.checks = [(200, 0.59), (300, 0.69), (400, 0.79)]
    assert forecast_end([head, cycle]) == pytest.approx(0.8)


@pytest.mark.parametrize("phase", [PRUNE, SHRINK])
def test_while_a_network_is_made_smaller_no_deeper_one_lies_ahead(phase):
    growth = Growth(0.9, cycle_epochs=20)
    growth.begin(epochs=60, removal=0.1)
    cycle = Stage(1, CYCLE, 0, 2000, 100, steps=1000, values=[0.7] * 10)
    smaller = Stage(1, phase, 1000, 1200, 100, steps=100, values=[0.88], end_progress=0.1 if phase == PRUNE else 1.0)
    assert growth.plan.dearest_ahead([cycle, smaller]) == 1
    assert growth.plan.most_steps_left([cycle, smaller]) == (1900 if phase == PRUNE else 100)
    assert growth.plan.most_steps_left([cycle]) == 5000  # before, a deeper one might still follow


def test_a_trained_network_begins_where_the_rate_falls_and_at_a_fixed_depth_has_all_epochs():
    grown = Growth(0.9, cycle_epochs=4, trained=True).begin(depth=3, epochs=12)
    assert (grown.depth, grown.progress, grown.end_step) == (3, 0.5, 200)
    alone = Growth(None, max_depth=3, trained=True).begin(depth=3, epochs=12)
    assert (alone.progress, alone.end_step) == (0.5, 1200)
