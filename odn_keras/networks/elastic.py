"""Elastic width: inner channels of residual blocks that are left out while the network is trained.

A block whose inner layers keep their first k channels only computes what a block of k inner channels would, so one
network trains many. Source: Once-for-All (arXiv 1908.09791), section on progressive shrinking.
"""

from collections.abc import Iterator, Sequence

import keras
import numpy as np
from keras import ops

FRACTIONS = (0.25, 0.5, 0.75, 1.0)
WHOLE_STEPS = 0.25  # fraction of the steps that train the network at full width


def active_channels(channels: int, fraction: float) -> int:
    """How many of the channels that fraction leaves, at least 1.

    >>> active_channels(64, 0.25), active_channels(2, 0.25)
    (16, 1)
    """
    return max(1, round(fraction * channels))


@keras.saving.register_keras_serializable("odn_keras")
class ElasticWidth(keras.layers.Layer):
    """Passes on the first channels of its input of shape (..., channels), and zeros for the rest.

    Attributes:
        active: a variable, the number of channels passed on; at first all of them.
    """

    def build(self, input_shape):
        """Makes the variable."""
        self.active = self.add_weight(
            shape=(),
            initializer=keras.initializers.Constant(input_shape[-1]),
            dtype="float32",
            autocast=False,
            trainable=False,
            name="active",
        )

    def call(self, inputs):
        """Returns the input with zeros from channel `active` on."""
        kept = ops.arange(inputs.shape[-1], dtype="float32") < self.active
        return inputs * ops.cast(kept, inputs.dtype)


def elastic_layers(network: keras.Model) -> list[ElasticWidth]:
    """The network's elastic layers, from its beginning to its end."""
    return [layer for layer in network.layers if isinstance(layer, ElasticWidth)]


def set_widths(network: keras.Model, fractions: Sequence[float]) -> None:
    """Sets how many channels each elastic layer passes on.

    Args:
        network: made by `odn_keras.build` with `elastic=True`.
        fractions: one for each elastic layer, in the order of `elastic_layers`.
    """
    for layer, fraction in zip(elastic_layers(network), fractions, strict=True):
        layer.active.assign(active_channels(layer.output.shape[-1], fraction))


def widen(network: keras.Model) -> None:
    """Lets every elastic layer pass all its channels on."""
    set_widths(network, [1.0] * len(elastic_layers(network)))


def shrinking(epochs: int) -> Iterator[float]:
    """Progressive shrinking: for each epoch the smallest fraction that is trained; in the last one that is the least.

    >>> list(shrinking(6)), list(shrinking(2))
    ([0.75, 0.75, 0.5, 0.5, 0.25, 0.25], [0.5, 0.25])
    """
    ladder = FRACTIONS[:-1]
    return (ladder[left * len(ladder) // epochs] for left in reversed(range(epochs)))


def draw_widths(network: keras.Model, smallest: float, rng: np.random.Generator) -> None:
    """Gives the network random widths for a training step: now and then all of it, else each layer its own fraction."""
    allowed = [fraction for fraction in FRACTIONS if fraction >= smallest]
    count = len(elastic_layers(network))
    set_widths(network, [1.0] * count if rng.random() < WHOLE_STEPS else rng.choice(allowed, count).tolist())
