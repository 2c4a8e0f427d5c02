"""`TrainingData`: what a growing fit trains and validates on, read by one Keras `fit` after the other."""

from collections.abc import Iterator
from typing import Any

from odn_keras.data.batches import Batches
from odn_keras.errors import InputError
from odn_keras.growing import averaging
from odn_keras.growing.checks import AccuracyCheck
from odn_keras.growing.replay import Replay


class TrainingData:
    """The data of a growing fit.

    Args:
        arguments: of `keras.Model.fit`, those that say what to train and validate on; `x`, `y`, `batch_size`,
            `steps_per_epoch`, `validation_data` and `validation_split` among them.
        steps: training steps of an epoch.

    Attributes:
        steps: as given.
        seekable: whether the data can be put at an epoch and step.
        check: measures the accuracy within an epoch; `None` where the data do not allow that.
    """

    def __init__(self, arguments: dict[str, Any], steps: int):
        self.steps = steps
        self._arguments = dict(arguments)
        whole_epochs = arguments["steps_per_epoch"] is None
        self._seek = getattr(arguments["x"], "seek", None) if whole_epochs else None
        self.seekable = self._seek is not None
        if self.seekable:  # it shuffles itself, by seed and epoch; Keras would shuffle its batches otherwise
            self._arguments["shuffle"] = False
        self.check = AccuracyCheck.on_some_of(arguments["validation_data"]) if self.seekable else None
        self._replay: Replay | None = None  # of data that can be read only once

    def start(self) -> None:
        """Reads the first batches of an iterator, which cannot be read twice; is called once, before training."""
        if hasattr(self._arguments["x"], "__next__"):
            self._replay = Replay(self._arguments["x"], averaging.RECALIBRATION_BATCHES)

    def fit_arguments(self) -> dict[str, Any]:
        """Arguments of the next `keras.Model.fit`."""
        return {**self._arguments, "x": self._replay.reader()} if self._replay else self._arguments

    def seek(self, epoch: int, step: int) -> None:
        """Puts the data at a step of an epoch, if they are seekable."""
        if self._seek:
            self._seek(epoch, step)

    def trained(self, steps: int) -> None:
        """Notes that so many further batches have been trained on."""
        if self._replay:
            self._replay.trained(steps)

    def check_length(self, done: int) -> None:
        """Checks, at the end of an epoch, that an iterator had a batch for each of its steps.

        Raises:
            InputError: where only `done` steps could be made.
        """
        if self._replay and done < self.steps:
            raise InputError(
                f"the training data ended after {done} of the {self.steps} steps of an epoch: "
                "give fit an iterator of more batches, or fewer epochs"
            )

    def images(self) -> Iterator:
        """The images of a few training batches: see `averaging.some_batches`."""
        return (images for images, _, _ in self.examples(labelled=False))

    def examples(self, *, labelled: bool = True) -> Iterator[tuple]:
        """The same batches with labels and weights: see `averaging.some_examples`."""
        data = self._arguments
        labels = {"y": data["y"], "sample_weight": data.get("sample_weight")} if labelled else {}
        images = self._replay.first if self._replay else data["x"]
        return averaging.some_examples(images, data["batch_size"], data["validation_split"], **labels)

    @property
    def class_weight(self) -> dict[int, float] | None:
        """As given to `keras.Model.fit`."""
        return self._arguments.get("class_weight")

    def settings(self) -> dict[str, Any] | None:
        """What decides on the order of the batches, as JSON; `None` where that is unknown."""
        x = self._arguments["x"]
        return x.settings() if isinstance(x, Batches) else None
