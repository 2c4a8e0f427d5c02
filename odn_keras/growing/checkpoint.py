"""Checkpoints of a growing `fit`: the whole state of a training between two steps, in one checksummed file."""

import hashlib
import io
import json
import os
import pathlib
import re
import signal
import threading
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from odn_keras.errors import InputError
from odn_keras.files import replacing
from odn_keras.growing import distribution

KEPT = 2
FORMAT = 3
HASH_LENGTH = 16
FILE_NAME = re.compile(rf"epoch\d{{6}}-step\d{{8}}-[0-9a-f]{{{HASH_LENGTH}}}\.npz")


@dataclass
class Snapshot:
    """The state of a training between two steps.

    Attributes:
        epoch: complete epochs.
        step: steps of the next epoch that are done as well.
        state: everything but the arrays, as JSON.
        arrays: lists of arrays by their role, such as `"weights"`.
    """

    epoch: int
    step: int
    state: dict[str, Any]
    arrays: dict[str, list[np.ndarray]]


class Checkpoint(keras.callbacks.Callback):
    """Lets a growing `OptimallyDeepNetwork.fit` be resumed after any interruption.

    After every epoch the whole state of the training is written to the folder: weights, optimizer, position in the
    schedule and in the data, growth, random numbers. A `fit` that finds a checkpoint there resumes from it; with the
    same seed, backend and a CPU it ends with the same bits as if it had never been interrupted, provided that its data
    can be put at an epoch and step: an `odn_keras.Batches`, or another `keras.utils.PyDataset` with a method
    `seek(epoch, step)`. Other data start again, in another order. Other callbacks do not get their state back.

    While `fit` runs, SIGINT (Ctrl-C) and SIGTERM first let the current step finish and a checkpoint be written (with
    seekable data a new one, otherwise the last epoch's stays); a second signal does not wait.

    Args:
        folder: for the checkpoints, made if need be; the last two are kept. With SGD and momentum each has 3 to 4
            times the bytes of the network's float32 weights, with Adam 4 to 5; one more while widths shrink.

    Raises:
        InputError: where no checkpoint in the folder is intact, or they are of another training; at `fit`.

    >>> import keras, tempfile, odn_keras
    >>> data = odn_keras.load_dataset("digits", train_images=256)
    >>> batches = odn_keras.Batches(data.train, data.num_classes, batch_size=64)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for attempt in range(2):  # the second finds the first one complete
    ...         model = odn_keras.OptimallyDeepNetwork("resnet18", data.input_shape, data.num_classes, width=2)
    ...         model.compile(keras.optimizers.SGD(0.1), loss="categorical_crossentropy")
    ...         growth = odn_keras.DepthGrowth(target=0.9, verbose=0)
    ...         validation = odn_keras.EvaluationBatches(data.validation, data.num_classes, 256)
    ...         history = model.fit(batches, validation_data=validation, epochs=3, verbose=0,
    ...                             callbacks=[growth, odn_keras.Checkpoint(folder)])
    ...         print(len(history.epoch), "epochs")
    3 epochs
    3 epochs
    """

    def __init__(self, folder: str | os.PathLike[str]):
        super().__init__()
        self.folder = pathlib.Path(folder).expanduser()
        self._signal: int | None = None
        self._handlers: dict[int, Any] = {}

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Refuses the `fit`: Keras calls this only where the network does not grow."""
        raise InputError("Checkpoint works beside DepthGrowth only; for another fit take BackupAndRestore of Keras")

    def save(self, snapshot: Snapshot) -> None:
        """Writes a snapshot and deletes all but the last two.

        Raises:
            OSError: where the folder cannot be written; the earlier checkpoints are then still there.
        """
        if not distribution.current().is_chief:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        content = _pack(snapshot)
        digest = hashlib.sha256(content).hexdigest()[:HASH_LENGTH]
        with replacing(self.folder / f"epoch{snapshot.epoch:06}-step{snapshot.step:08}-{digest}.npz") as temporary:
            temporary.write_bytes(content)
        for file in self._files()[KEPT:]:
            file.unlink()

    def load(self) -> Snapshot | None:
        """The last intact snapshot, with a warning where a later one is damaged; `None` where there is none at all."""
        content = distribution.from_chief(self._load_last)
        return _unpack(content) if content else None

    def _load_last(self) -> bytes:
        files = self._files()
        for file in files:
            content = file.read_bytes()
            if hashlib.sha256(content).hexdigest().startswith(file.stem.rsplit("-", 1)[1]):
                return content
            warnings.warn(f"checkpoint {file} is damaged: the one before it is used", stacklevel=4)
        if files:
            raise InputError(f"no checkpoint in {self.folder} is intact: delete that folder and train again")
        return b""

    def _files(self) -> list[pathlib.Path]:
        """Checkpoint files, the last one first."""
        return sorted((file for file in self.folder.glob("*") if FILE_NAME.fullmatch(file.name)), reverse=True)

    @property
    def stop_requested(self) -> bool:
        """Whether a signal has asked for the end."""
        return self._signal is not None

    @contextmanager
    def deferring_signals(self) -> Iterator[None]:
        """Lets SIGINT and SIGTERM wait in the block, for `stop`; elsewhere than in the main thread changes nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        self._handlers = {number: handler for number, handler in handlers.items() if handler != signal.SIG_IGN}
        for number in self._handlers:
            signal.signal(number, self._defer)
        try:
            yield
            self.stop()  # for a signal after the last step
        finally:
            self._signal = None
            self._restore_handlers()

    def stop(self) -> None:
        """Does what the signal would have done at once."""
        number, self._signal = self._signal, None
        self._restore_handlers()
        if number is not None:
            signal.raise_signal(number)

    def _defer(self, number: int, frame: object) -> None:
        self._signal = number
        self._restore_handlers()  # the next one does not wait

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)


def _pack(snapshot: Snapshot) -> bytes:
    stored: dict[str, Any] = {}  # each array once: the best weights often are the present ones, these the average
    names: dict[str, list[str]] = {}
    for kind, arrays in snapshot.arrays.items():
        contents = [
            hashlib.sha256(f"{each.dtype}{each.shape}".encode() + each.tobytes()).hexdigest() for each in arrays
        ]
        names[kind] = contents
        stored |= zip(contents, arrays, strict=True)
    state = {"format": FORMAT, "epoch": snapshot.epoch, "step": snapshot.step, "arrays": names, **snapshot.state}
    buffer = io.BytesIO()
    np.savez(buffer, state=np.frombuffer(json.dumps(state).encode(), np.uint8), **stored)
    return buffer.getvalue()


def _unpack(content: bytes) -> Snapshot:
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            state = json.loads(stored["state"].tobytes())
            if state.pop("format", None) != FORMAT:
                raise ValueError("another format")
            arrays = {kind: [stored[name] for name in names] for kind, names in state.pop("arrays").items()}
        return Snapshot(state.pop("epoch"), state.pop("step"), state, arrays)
    except (ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(f"the checkpoint is not of this version: train again ({error})") from error
