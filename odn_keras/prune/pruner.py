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
            needs. Milliseconds cannot be predicted.
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


@dataclass(eq=False)
class GroupInPruning:
    """The channels of one group, while some of them go.

    Attributes:
        group: the layers that have these channels.
        kept: of shape (size,), whether each channel is still wanted.
        fading: of shape (size,), whether each channel is on its way to zero.
        saliency: the saliency of all its channels together before the first went; `None` until it is known.
    """

    group: ChannelGroup
    kept: np.ndarray
    fading: np.ndarray
    saliency: float | None = None

    @classmethod
    def whole(cls, group: ChannelGroup) -> "GroupInPruning":
        """The group before anything goes."""
        return cls(group, np.ones(group.size, bool), np.zeros(group.size, bool))

    def scale(self, fading: float) -> None:
        """Multiplies all that writes a channel: by 0 where it is gone, and by that number where it fades."""
        factor = self.kept + fading * self.fading
        if np.all(factor == 1):
            return
        for layer in (*self.group.writers, *self.group.norms, *self.group.depthwise):
            for variable in _written_by(layer):
                variable.assign(variable * ops.cast(factor, variable.dtype))


class _Queue:
    """The channels of a group that are left, those with the least saliency first, while some are chosen.

    Args:
        part: of which channels are chosen; the first time its saliency is noted.
        scores: of shape (size,), the saliency of each channel.
    """

    def __init__(self, part: GroupInPruning, scores: np.ndarray):
        left = np.flatnonzero(part.kept)
        self.part, self._scores = part, scores
        self._channels = left[np.argsort(scores[left], kind="stable")]
        self._saliency = scores[self._channels].sum()
        if part.saliency is None:
            part.saliency = self._saliency

    def loss(self, count: int) -> float:
        """What the next channels contribute, the more the less is left of the group to make up for them."""
        lost = self._scores[self._channels[:count]].sum()
        if self._saliency > 0:
            lost *= self.part.saliency / self._saliency
        return lost

    def take(self, count: int) -> None:
        """Lets the next channels go."""
        gone, self._channels = self._channels[:count], self._channels[count:]
        self._saliency -= self._scores[gone].sum()
        self.part.kept[gone], self.part.fading[gone] = False, True


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
        self._parts = [GroupInPruning.whole(group) for group in prunable(self._by_tensor, streams=plan.streams)]
        self._end = keras.Model(network.inputs, network.outputs[-1])  # what a budget is for
        first, last = plan.start * steps, plan.end * steps
        self._ticks = np.linspace(first, last, SELECTIONS * FADES, endpoint=False).astype(int)
        self._every = max(1, round((last - first) / len(self._ticks)))
        self._done = 0  # ticks
        self._last = -1  # step after which there was something to do
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
            for part in self._parts:
                part.fading[:] = False

    def hold(self) -> None:
        """Sets what has been removed to exact zero, whatever the optimizer or an average of weights made of it."""
        self._scale(1.0)

    def state(self) -> dict[str, Any]:
        """What has been chosen so far, as JSON."""
        return {
            "done": self._done,
            "last": self._last,
            "kept": [part.kept.tolist() for part in self._parts],
            "fading": [part.fading.tolist() for part in self._parts],
            "saliencies": [float(part.saliency) for part in self._parts if part.saliency is not None],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Returns to an earlier `state`."""
        self._done, self._last = state["done"], state["last"]
        saliencies = state["saliencies"] or [None] * len(self._parts)
        for part, kept, fading, saliency in zip(self._parts, state["kept"], state["fading"], saliencies, strict=True):
            part.kept, part.fading, part.saliency = np.array(kept), np.array(fading), saliency

    def _tick(self) -> float:
        """Chooses, where it is time for that; returns what the channels that fade are multiplied by."""
        selection, fade = divmod(self._done, FADES)
        if fade == 0:
            self._choose(1 - (1 - (selection + 1) / SELECTIONS) ** 3)
        self._done += 1
        return 1 - 1 / (FADES - fade)  # 4/5, 3/4, 2/3, 1/2, 0: equal steps

    def _scale(self, fading: float) -> None:
        for part in self._parts:
            part.scale(fading)

    # Which channels.

    @property
    def _groups(self) -> list[ChannelGroup]:
        return [part.group for part in self._parts]

    def _choose(self, progress: float) -> None:
        """Marks the channels that go now, so that the network is as small as it must be by now."""
        scores = self._score(self._network, self._groups)
        queues = [_Queue(part, score) for part, score in zip(self._parts, scores, strict=True)]
        counts = self._counts()
        while (excess := self._excess(counts, progress)) > 0:
            options = []
            for number, queue in enumerate(queues):
                group = queue.part.group
                some = min(max(1, int(group.size * AT_ONCE)), counts[group] - 1)
                if some > 0:
                    fewer = {**counts, group: counts[group] - some}
                    price = self._price(queue.loss(some), excess, counts=counts, fewer=fewer, progress=progress)
                    options.append((price, number, fewer, some))
            _, number, counts, some = min(options, key=lambda option: option[:2])
            queues[number].take(some)

    def _price(
        self, lost: float, excess: float, *, counts: Counts, fewer: Counts, progress: float
    ) -> tuple[float, float]:
        """What a removal loses for what it brings nearer to the goal, or, where it brings nothing, for its size.

        Args:
            lost: the saliency that is lost.
            excess: by how much the network is too large with `counts` channels.
            counts: the channels of each group without the removal.
            fewer: the channels of each group with it.
            progress: how much of the way to the goal must be done.
        """
        nearer = excess - self._excess(fewer, progress)
        smaller = self._params(counts) - self._params(fewer)
        return (lost / nearer if nearer > 0 else np.inf, lost / smaller)

    def _counts(self) -> Counts:
        return {part.group: int(part.kept.sum()) for part in self._parts}

    def _excess(self, counts: Counts, progress: float) -> float:
        return self._plan.excess(self._sizes(counts), self._whole, progress)

    def _sizes(self, counts: Counts) -> dict[str, int]:
        if self._plan.budget is None:
            return {"parameters": self._params(counts)}
        footprint = Footprint.of(self._end, lambda tensor: self._channels(tensor, counts), self._plan.budget.kernels)
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
            elif isinstance(layer, layers.DepthwiseConv2D):
                total += (int(np.prod(layer.kernel_size)) + layer.use_bias) * out
            elif isinstance(layer, layers.BatchNormalization):
                total += (layer.scale + layer.center) * out
        return total

    def _check_goal(self) -> None:
        if not self._parts:
            raise InputError("the network has no channels that could be pruned")
        least = dict.fromkeys(self._groups, 1)
        if self._excess(least, 1.0) > 0:
            raise InputError(self._plan.refusal(self._sizes(least), self._whole))


def _written_by(layer: keras.layers.Layer) -> list:
    """The variables of a layer that have its output's channels on their last axis, but for statistics.

    The filters of a depthwise convolution may stay: they read a channel that is zero.
    """
    if isinstance(layer, layers.BatchNormalization):
        return [variable for variable in (layer.gamma, layer.beta) if variable is not None]
    bias = [layer.bias] if layer.use_bias else []
    return bias if isinstance(layer, layers.DepthwiseConv2D) else [layer.kernel, *bias]
