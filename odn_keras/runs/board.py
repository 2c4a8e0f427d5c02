"""The run's metrics for TensorBoard, in the folder `tensorboard` of the run."""

import importlib.util
import pathlib

import keras

from odn_keras.errors import InputError
from odn_keras.growing.depth_growth import DepthGrowth


def check_installed() -> None:
    """Raises `InputError` where TensorBoard's package is missing."""
    if importlib.util.find_spec("tensorboard") is None:
        raise InputError("--tensorboard needs tensorboard: pip install 'odn_keras[tensorboard]'")


class Board(keras.callbacks.TensorBoard):
    """Writes after every epoch its metrics, the depth and, where there is one, the forecast.

    Args:
        growth: of the same fit.
        folder: where the events go.
    """

    def __init__(self, growth: DepthGrowth, folder: pathlib.Path):
        super().__init__(str(folder), write_graph=False)
        self._growth = growth

    def on_epoch_end(self, epoch, logs=None):
        """Writes the epoch."""
        stage = self._growth.stages[-1]
        forecast = {} if stage.forecasts[-1] is None else {"forecast": stage.forecasts[-1]}
        super().on_epoch_end(epoch, {**(logs or {}), "depth": stage.depth, **forecast})
