"""Averaged weights, which are used for validation and for the final network, and their BatchNorm statistics.

At a high learning rate the weights change by large steps, and so does the accuracy. Their average is close to what
they converge to when the rate falls, so it can be validated while the rate is high. BatchNorm's moving statistics
belong to the weights that are trained: for the average they are measured again, on a few batches of training images.
"""

import copy
import itertools
import math
from collections.abc import Iterable, Iterator

import keras
import numpy as np

from odn_keras.data.batches import Batches
from odn_keras.growing import distribution
from odn_keras.growing.stage import LONG
from odn_keras.networks import builder
from odn_keras.utils import keras_backends

AVERAGED = 20  # parts of a cycle, of which the last one is averaged
RECALIBRATION_BATCHES = 10
NUMBERS = {"averaged": AVERAGED, "recalibration_batches": RECALIBRATION_BATCHES}


def averaging_momentum(cycle_steps: int) -> float:
    """Momentum of an exponential moving average over about the last twentieth of a cycle, at most 150 steps."""
    return math.exp(-AVERAGED / min(max(AVERAGED, cycle_steps), LONG))


def recalibrate(network: keras.Model, batches: Iterable) -> None:
    """Sets the moving statistics of the BatchNorm layers that are not frozen to their mean over a few batches.

    Under a `keras.distribution` of several processes they are those of process 0's batches.

    Args:
        network: whose other weights stay as they are.
        batches: images, each item of shape (batch, height, width, channels).
    """
    if distribution.current().processes == 1:
        _measure(network, batches)
        return

    def alone() -> bytes:  # the network's arrays lie on all devices, and take no batch of one process
        with distribution.local():
            copied = builder.with_dtype(network, network.get_layer("stem_conv").dtype_policy.name)
            _measure(copied, batches)
            return b"".join(np.array(variable, "float32").tobytes() for variable in _statistics(copied))

    values = np.frombuffer(distribution.from_chief(alone), "float32")
    for variable in _statistics(network):
        value, values = np.split(values, [math.prod(variable.shape)])
        variable.assign(value.reshape(variable.shape))


def _measure(network: keras.Model, batches: Iterable) -> None:
    norms = _measured(network)
    momenta = [layer.momentum for layer in norms]
    try:
        with keras_backends.without_gradients():
            for seen, images in enumerate(batches):
                for layer in norms:
                    layer.momentum = seen / (seen + 1)  # a running mean
                network(images, training=True)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum


def _measured(network: keras.Model) -> list[keras.layers.BatchNormalization]:
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable]


def _statistics(network: keras.Model) -> list:
    return [variable for layer in _measured(network) for variable in (layer.moving_mean, layer.moving_variance)]


def some_batches(x, batch_size: int | None, validation_split: float = 0.0) -> Iterator:
    """The images of a few training batches, from whatever `keras.Model.fit` takes as `x`; always the same ones.

    Of arrays, which may lie sorted by class, they are drawn from all but those that `validation_split` sets aside. Of
    an iterator, which cannot be read twice, they are the next ones.
    """
    return (images for images, _, _ in some_examples(x, batch_size, validation_split))


def some_examples(
    x, batch_size: int | None, validation_split: float = 0.0, *, y=None, sample_weight=None
) -> Iterator[tuple]:
    """The same batches as `some_batches` with their labels and weights, each `None` where there are none."""
    if isinstance(x, keras.utils.PyDataset):
        if hasattr(x, "seek"):  # a copy, because the original may be read ahead of the training meanwhile
            x = x.whole() if isinstance(x, Batches) else copy.copy(x)
            x.seek(0)
        batches = (x[index] for index in (itertools.count() if x.num_batches is None else range(x.num_batches)))
    elif hasattr(x, "shape") or isinstance(x, dict):
        images, size = keras.tree.flatten(x)[0], batch_size or 32
        order = np.random.default_rng(0).permutation(training_samples(len(images), validation_split))
        chosen = (order[start : start + size] for start in range(0, len(order), size))
        batches = (tuple(_rows(part, rows) for part in (images, y, sample_weight)) for rows in chosen)
    else:
        batches = iter(x)
    for batch in itertools.islice(batches, RECALIBRATION_BATCHES):
        parts = tuple(batch) if isinstance(batch, (tuple, list)) else (batch,)
        yield (*parts, None, None)[:3]


def _rows(part, rows: np.ndarray):
    """Those rows of an array, or of each array of a structure."""
    if part is None:
        return None
    return keras.tree.map_structure(
        lambda array: (np.take if isinstance(array, np.ndarray) else keras.ops.take)(array, rows, axis=0), part
    )


def training_samples(samples: int, validation_split: float) -> int:
    """How many of the samples, the first ones, `keras.Model.fit` trains on."""
    return math.floor(samples * (1 - validation_split))
