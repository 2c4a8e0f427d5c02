"""Which channels go, and when: a schedule that drives them to exact zero while the network is trained.

In the window from `start` to `end` of the training there are SELECTIONS moments. At each of them the network's size is
brought down a step further towards the goal, along the cubic of Zhu and Gupta (arXiv 1710.01878, section 3): the
channels with the least saliency for what they take go. Saliency counts in parts of what is left of a group, after
LAMP (arXiv 2010.07611): the fewer channels are left to take over what goes, the dearer each is. What is
chosen fades to zero in equal steps until the next moment, so that the others can take its part over, and is held at
zero from then on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from odn_keras.errors import InputError
from odn_keras.networks.budget import Budget
from odn_keras.networks.footprint import Footprint
from odn_keras.prune.groups import WRITERS, ChannelGroup, groups_by_tensor, inputs_of, prunable
from odn_keras.prune.saliency import saliencies

SELECTIONS = 20
FADES = 5  # steps of fading between two selections
AT_ONCE = 1 / 32  # of a group's channels that are weighed together

Counts = dict[ChannelGroup, int]
Sizes = Mapping[str, float]
Score = Callable[[keras.Model, list[ChannelGroup]], list[np.ndarray]]


@dataclass(frozen=True)
class PruningPlan:
    """What is to be pruned, and when.

    Attributes:
        sparsity: fraction of the parameters to remove, in [0, 1).
        budget: instead of that, what the int8 file, its arena and an image may take; no more is removed than that
            needs. Milliseconds cannot be told.
        start, end: the part of the training in which channels are removed, 0 <= start < end <= 1.
        streams: whether the channels of residual streams may go too, besides those inside blocks.

    Raises:
        InputError: for a value out of range.
    """

    sparsity: float | None = None
    budget: Budget | None = None
    start: float = 0.1
    end: float = 0.6
    streams: bool = False

    def __post_init__(self):
        if (self.sparsity is None) == (self.budget is None):
            raise InputError(f"pruning takes a sparsity or a budget, got {self.sparsity} and {self.budget}")
        if self.sparsity is not None and not 0 <= self.sparsity < 1:
            raise InputError(f"sparsity, the fraction of parameters to remove, must be in [0, 1), got {self.sparsity}")
        if self.budget and (not self.budget.limits or self.budget.max_latency_ms is not None):
            raise InputError(f"pruning can keep max_flash, max_arena and max_macs, got a budget of {self.budget}")
        if not 0 <= self.start < self.end <= 1:
            raise InputError(f"start and end of pruning must be 0 <= start < end <= 1, got {self.start} and {self.end}")

    def goals(self, whole: Sizes) -> dict[str, float]:
        """The sizes that the network must come down to, of that size now."""
        if self.sparsity is not None:
            return {"parameters": (1 - self.sparsity) * whole["parameters"]}
        assert self.budget is not None
        return self.budget.limits

    def excess(self, sizes: Sizes, whole: Sizes, progress: float = 1.0) -> float:
        """By how much a network is larger than it may be after that part of the way, relatively and in sum."""
        total = 0.0
        for name, goal in self.goals(whole).items():
            allowed = whole[name] + progress * min(0, goal - whole[name])
            total += max(0.0, sizes[name] / allowed - 1)
        return total

    def refusal(self, least: Sizes, whole: Sizes) -> str:
        """What is wrong where the smallest network still is too large."""
        goals = self.goals(whole)
        needs = ", ".join(f"{least[name]:,} of {name.replace('_', ' ')}" for name in goals)
        wanted = ", ".join(f"{int(goal):,} of {name.replace('_', ' ')}" for name, goal in goals.items())
        streams = "" if self.streams else "; with streams=True (--prune_streams) more can go"
        return f"pruned to one channel a group the network still has {needs}, not {wanted}{streams}"


class Pruner:
    """Prunes one network while it is trained.

    Args:
        network: as `find_groups` takes it.
        plan: what is to be pruned.
        steps: training steps in all.
        score: says how much channels matter, as `saliencies` does.

    Raises:
        InputError: for a layer that there is no rule for, or a goal that one channel in each group still misses.
    """

    def __init__(self, network: keras.Model, plan: PruningPlan, steps: int, score: Score = saliencies):
        self._network, self._plan, self._score = network, plan, score
        self._by_tensor = groups_by_tensor(network)
        self._groups = prunable(self._by_tensor, streams=plan.streams)
        self._end = keras.Model(network.inputs, network.outputs[-1])  # what a budget is for
        first, last = plan.start * steps, plan.end * steps
        self._ticks = np.linspace(first, last, SELECTIONS * FADES, endpoint=False).astype(int)
        self._every = max(1, round((last - first) / len(self._ticks)))
        self._done = 0  # ticks
        self._last = -1  # step after which there was something to do
        self._kept = [np.ones(group.size, bool) for group in self._groups]
        self._fading = [np.zeros(group.size, bool) for group in self._groups]
        self._saliencies: list[float] = []  # of whole groups, as first told
        self._whole = self._sizes(self._counts())
        self._check_goal()

    def due(self, step: int) -> bool:
        """Whether there is anything to do after training step `step`, from 0, or what steps went before it."""
        tick_due = self._done < len(self._ticks) and self._ticks[self._done] <= step
        return tick_due or (self._done > 0 and step // self._every > self._last // self._every)

    def after_step(self, step: int) -> None:
        """Chooses channels, fades them, or holds them at zero, as is due after training step `step`.

        The network's variables must be those that are trained: see `odn_keras.utils.keras_backends`.
        """
        if not self.due(step):
            return
        self._last = step
        fading = 1.0
        while self._done < len(self._ticks) and self._ticks[self._done] <= step:
            fading *= self._tick()
        self._scale(fading)
        if self._done % FADES == 0:
            self._fading = [np.zeros_like(fading) for fading in self._fading]

    def hold(self) -> None:
        """Sets what has been removed to exact zero, whatever the optimizer or an average of weights made of it."""
        self._scale(1.0)

    def state(self) -> dict[str, Any]:
        """What has been chosen so far, as JSON."""
        return {
            "done": self._done,
            "last": self._last,
            "kept": [kept.tolist() for kept in self._kept],
            "fading": [fading.tolist() for fading in self._fading],
            "saliencies": [float(whole) for whole in self._saliencies],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Returns to an earlier `state`."""
        self._done, self._last = state["done"], state["last"]
        self._kept = [np.array(kept) for kept in state["kept"]]
        self._fading = [np.array(fading) for fading in state["fading"]]
        self._saliencies = state["saliencies"]

    def _tick(self) -> float:
        """Chooses, where it is time for that; returns what the channels that fade are multiplied by."""
        selection, fade = divmod(self._done, FADES)
        if fade == 0:
            self._choose(1 - (1 - (selection + 1) / SELECTIONS) ** 3)
        self._done += 1
        return 1 - 1 / (FADES - fade)  # 4/5, 3/4, 2/3, 1/2, 0: equal steps

    def _scale(self, fading: float) -> None:
        """Multiplies all that writes a channel: by 0 where it is gone, and by that number where it fades."""
        for group, kept, fades in zip(self._groups, self._kept, self._fading, strict=True):
            factor = kept + fading * fades
            if np.all(factor == 1):
                continue
            for layer in (*group.writers, *group.norms):
                for variable in _written_by(layer):
                    variable.assign(variable * ops.cast(factor, variable.dtype))

    # Which channels.

    def _choose(self, progress: float) -> None:
        """Marks the channels that go now, so that the network is as small as it must be by now."""
        scores = self._score(self._network, self._groups)
        order = [np.flatnonzero(kept) for kept in self._kept]
        order = [alive[np.argsort(score[alive], kind="stable")] for alive, score in zip(order, scores, strict=True)]
        left = [score[alive].sum() for alive, score in zip(order, scores, strict=True)]
        self._saliencies = self._saliencies or left.copy()
        taken = [0] * len(self._groups)
        counts = self._counts()
        while (excess := self._excess(counts, progress)) > 0:
            options = []
            for number, group in enumerate(self._groups):
                some = min(max(1, int(group.size * AT_ONCE)), counts[group] - 1)
                if some > 0:
                    fewer = {**counts, group: counts[group] - some}
                    lost = scores[number][order[number][taken[number] :][:some]].sum()
                    if left[number] > 0:  # what stays has to make up for it
                        lost *= self._saliencies[number] / left[number]
                    options.append((self._price(lost, excess, counts, fewer, progress), number, fewer, some))
            _, number, counts, some = min(options, key=lambda option: option[:2])
            gone = order[number][taken[number] :][:some]
            taken[number] += some
            left[number] -= scores[number][gone].sum()
            self._kept[number][gone], self._fading[number][gone] = False, True

    def _price(self, lost: float, excess: float, counts: Counts, fewer: Counts, progress: float) -> tuple[float, float]:
        """What a removal loses for what it brings nearer to the goal, or, where it brings nothing, for its size."""
        nearer = excess - self._excess(fewer, progress)
        smaller = self._params(counts) - self._params(fewer)
        return (lost / nearer if nearer > 0 else np.inf, lost / smaller)

    def _counts(self) -> Counts:
        return {group: int(kept.sum()) for group, kept in zip(self._groups, self._kept, strict=True)}

    def _excess(self, counts: Counts, progress: float) -> float:
        return self._plan.excess(self._sizes(counts), self._whole, progress)

    def _sizes(self, counts: Counts) -> dict[str, int]:
        if self._plan.budget is None:
            return {"parameters": self._params(counts)}
        footprint = Footprint.of(self._end, lambda tensor: self._channels(tensor, counts))
        sizes = {"flash_bytes": footprint.flash_bytes, "macs": footprint.macs}
        if self._plan.budget.max_arena is not None:  # takes its time
            sizes["arena_bytes"] = footprint.arena_bytes
        return sizes

    def _channels(self, tensor, counts: Counts) -> int:
        return counts.get(self._by_tensor[id(tensor)], tensor.shape[-1])

    def _params(self, counts: Counts) -> int:
        total = 0
        for layer in self._network.layers:
            out = self._channels(layer.output, counts)
            if isinstance(layer, WRITERS):
                into = self._channels(inputs_of(layer)[0], counts)
                total += int(np.prod(layer.kernel.shape[:-2])) * into * out + layer.use_bias * out
            elif isinstance(layer, layers.BatchNormalization):
                total += (layer.scale + layer.center) * out
        return total

    def _check_goal(self) -> None:
        if not self._groups:
            raise InputError("the network has no channels that could be pruned")
        least = dict.fromkeys(self._groups, 1)
        if self._excess(least, 1.0) > 0:
            raise InputError(self._plan.refusal(self._sizes(least), self._whole))


def _written_by(layer: keras.layers.Layer) -> list:
    """The variables of a layer that have its output's channels on their last axis, but for statistics."""
    if isinstance(layer, layers.BatchNormalization):
        return [variable for variable in (layer.gamma, layer.beta) if variable is not None]
    return [layer.kernel, *([layer.bias] if layer.use_bias else [])]
