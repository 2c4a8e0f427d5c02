"""The phases of a stage: what each does to the network before, between and after its training steps."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from odn_keras.growing.network_in_training import NetworkInTraining
from odn_keras.growing.stage import CYCLE, HEAD, PRUNE, RECOVER, SETTLE, SHRINK, Stage
from odn_keras.networks import elastic
from odn_keras.prune import ChannelPruning
from odn_keras.utils import keras_backends

SHRINK_CLIPNORM = 1.0  # of all gradients: those of the narrowest networks are so large that they undo what was learned


@dataclass
class PhaseContext:
    """What phases share.

    Attributes:
        training: the network.
        pruning: prunes the depth that is found, if anything.
        seed: of the widths that are drawn while they shrink.
        carried: how many blocks the network has of the one that it started from.
    """

    training: NetworkInTraining
    pruning: ChannelPruning | None
    seed: int = 0
    carried: int = 0


class Phase:
    """One stage in one phase; the base class of those in `PHASES`, which override what they need.

    Args:
        stage: the stage.
        context: what phases share.
    """

    clipnorm: float | None = None  # largest norm of all gradients together

    def __init__(self, stage: Stage, context: PhaseContext):
        self.stage, self._context, self._training = stage, context, context.training

    def enter(self, earlier: "Phase | None") -> None:
        """Gives the network the shape and the weights that the phase begins with; `earlier` is the phase before."""

    @property
    def frozen_blocks(self) -> int | None:
        """How many blocks, and the stem, are not trained; `None` where everything is trained."""
        return None

    def begin(self, steps: int) -> None:
        """Prepares for training or, after `restore`, for more of it; `steps` are those of the cycle."""

    def before_step(self, step: int) -> None:
        """Is called before a training step of the present epoch, from 0."""

    def after_step(self, done: int) -> None:
        """Is called when so many steps of the stage are done."""

    def hold(self) -> None:
        """Sets what is pruned to zero in the averaged weights."""

    def leave(self) -> None:
        """Is called when the network has the weights of the best epoch, before another phase or the end."""

    def state(self) -> dict[str, Any] | None:
        """What a snapshot holds of the phase, as JSON."""
        return None

    def restore(self, state: Any) -> None:
        """Returns to a `state`, after `begin`."""

    def _deepen(self) -> None:
        """Goes one block deeper: with a high rate still before it, a network learns better from the raw weights."""
        self._training.take_raw_weights()
        self.stage.fresh_layers = self._training.deepen(self.stage.carried_share)


class Head(Phase):
    """The head is trained, and what else is new in a network that has the blocks of another one."""

    @property
    def frozen_blocks(self):
        """The number of blocks that were carried over."""
        return self._context.carried


class Settle(Phase):
    """The newest block and the head alone are trained."""

    def enter(self, earlier):
        """Goes one block deeper."""
        self._deepen()

    @property
    def frozen_blocks(self):
        """The number of blocks below the newest."""
        return self.stage.depth - 1


class Cycle(Phase):
    """Everything is trained, for a learning-rate cycle or the rest of one."""

    def enter(self, earlier):
        """Goes one block deeper, trains on after `Head` or `Settle`, or returns to an earlier cycle's best weights."""
        if self.stage.depth > self._training.depth:
            self._deepen()
        elif isinstance(earlier, Cycle):
            self._training.take_best_at(self.stage.depth)
        else:
            self._training.take_raw_weights()


class Prune(Phase):
    """Channels fade to zero."""

    def enter(self, earlier):
        """Takes the best weights of the depth that is pruned."""
        self._training.take_best_at(self.stage.depth)

    def begin(self, steps):
        """Makes the pruner for the steps of the cycle."""
        assert self._context.pruning is not None
        self._pruner = self._context.pruning.pruner(self._training.network, steps)

    def after_step(self, done):
        """Lets the pruner fade channels where it is due."""
        if self._pruner.due(done - 1):
            keras_backends.sync_variables(self._training.fitted)
            self._pruner.after_step(done - 1)

    def hold(self):
        """Sets what is pruned to zero."""
        self._pruner.hold()

    def leave(self):
        """Removes the channels that have faded."""
        self._training.compact()

    def state(self):
        """What a snapshot holds of the pruner."""
        return self._pruner.state()

    def restore(self, state):
        """Returns the pruner to a `state`."""
        self._pruner.restore(state)


class Recover(Phase):
    """The network without the channels that have gone is trained for the rest of the cycle."""

    def enter(self, earlier):
        """Takes the best weights and lets the earlier phase make the network compact."""
        self._training.take_best_at(self.stage.depth)
        earlier.leave()


class Shrink(Phase):
    """Smaller and smaller random widths are trained."""

    clipnorm = SHRINK_CLIPNORM

    def enter(self, earlier):
        """Takes the best weights, lets the earlier phase leave and makes the widths elastic."""
        self._training.take_best_at(self.stage.depth)
        earlier.leave()
        self._training.make_elastic()

    def before_step(self, step):
        """Draws the widths that the step trains, by seed, epoch and step: so a run can be resumed."""
        stage = self.stage
        keras_backends.sync_variables(self._training.fitted)
        first, last, epoch = (at // stage.epoch_steps for at in (stage.first_step, stage.end_step, stage.last_step))
        smallest = list(elastic.shrinking(last - first))[epoch - first]
        elastic.draw_widths(self._training.network, smallest, np.random.default_rng([self._context.seed, epoch, step]))


PHASES: dict[str, type[Phase]] = {
    HEAD: Head,
    SETTLE: Settle,
    CYCLE: Cycle,
    PRUNE: Prune,
    RECOVER: Recover,
    SHRINK: Shrink,
}
