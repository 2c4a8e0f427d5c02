"""Data-parallel training over devices and processes, on JAX through `keras.distribution`.

Every process trains the same network on its share of every batch; only the chief, process 0, writes files.
"""

import contextlib
import os
import random
import sys
import time
from collections.abc import Callable

import numpy as np

from odn_keras.data.share import Share
from odn_keras.errors import InputError

MESSAGE_BYTES = 1000  # of an error message that the processes exchange
JOB_VARIABLE = "KERAS_DISTRIBUTION_JOB_ADDRESSES"  # Keras's own, with ..._NUM_PROCESSES and ..._PROCESS_ID


def start(coordinator: str | None = None, num_processes: int | None = None, process_id: int | None = None) -> None:
    """Makes this process train data-parallel on all devices of all processes; before anything else uses JAX.

    Args:
        coordinator: HOST:PORT of process 0; default: what Keras's environment variables say, else one process alone.
        num_processes: how many processes there are.
        process_id: number of this one, from 0.

    Raises:
        InputError: on another backend than JAX, for arguments that do not go together, or where the others cannot be
            reached.
    """
    import keras

    if keras.backend.backend() != "jax":
        raise InputError(
            f"data-parallel training needs JAX, the backend is {keras.backend.backend()}: set KERAS_BACKEND=jax"
        )
    meeting_point = coordinator or os.environ.get(JOB_VARIABLE)
    if meeting_point:
        try:
            keras.distribution.initialize(coordinator, num_processes, process_id)
        except (ValueError, RuntimeError) as error:
            raise InputError(f"cannot join the processes at {meeting_point} ({error})") from error
    keras.distribution.set_distribution(keras.distribution.DataParallel(auto_shard_dataset=False))


def current() -> Share:
    """This process's share under the present `keras.distribution`; the whole where there is none."""
    import keras

    distribution = keras.distribution.distribution()
    if distribution is None:
        return Share()
    return Share(distribution.data_shard_id, distribution.num_processes, distribution.device_mesh.devices.size)


@contextlib.contextmanager
def local():
    """Context manager: this process computes on its own, and leaves the random numbers that all draw as they were."""
    import keras

    distribution, numbers = keras.distribution.distribution(), random.getstate()
    keras.distribution.set_distribution(None)
    try:
        yield
    finally:
        keras.distribution.set_distribution(distribution)
        random.setstate(numbers)


def from_chief(function: Callable[[], bytes]) -> bytes:
    """What `function` returns in the chief, in every process; where it fails there, it fails in all."""
    share = current()
    if share.processes == 1:
        return function()
    with together():
        answer = function() if share.is_chief else b""
    return _broadcast(answer)


@contextlib.contextmanager
def together():
    """Context manager: where the block fails in one process it fails in all of them, instead of leaving some waiting.

    Raises:
        InputError: what another process has raised.
    """
    share = current()
    if share.processes == 1:
        yield
        return
    problem: Exception | None = None
    try:
        yield
    except Exception as error:
        problem = error
    message = "" if problem is None else str(problem) or repr(problem)
    problems = _gather(message)
    if problem is not None:
        raise problem
    for process, theirs in enumerate(problems):
        if theirs:
            raise InputError(f"process {process}: {theirs}")


def leave(status: int) -> None:
    """Ends this process without waiting for the others, as JAX would at its end: they would wait for this one."""
    sys.stdout.flush()
    sys.stderr.flush()
    if current().is_chief:
        time.sleep(1)  # where all fail, the others say why before they miss the chief
    os._exit(status)


@contextlib.contextmanager
def noticing_loss():
    """Context manager: that another process has gone is an error of one line.

    Raises:
        InputError: where it has.
    """
    try:
        yield
    except Exception as error:
        if current().processes > 1 and not isinstance(error, InputError) and _is_loss(error):
            raise InputError(
                "another process of this training has ended: see what it says, then resume all of them with --resume"
            ) from error
        raise


def _is_loss(error: Exception) -> bool:
    """Whether an error, of JAX's collective operations, says that their other end is gone."""
    return any(words in str(error) for words in ("Gloo", "closed by peer", "Connection reset", "coordination service"))


def _gather(message: str) -> list[str]:
    """The messages of all processes, in their order; each is cut after MESSAGE_BYTES."""
    from jax.experimental import multihost_utils

    content = message.encode()[:MESSAGE_BYTES].ljust(MESSAGE_BYTES, b"\0")
    gathered = np.asarray(multihost_utils.process_allgather(np.frombuffer(content, np.uint8)))
    return [row.tobytes().rstrip(b"\0").decode(errors="ignore") for row in gathered]


def _broadcast(content: bytes) -> bytes:
    from jax.experimental import multihost_utils

    length = int(multihost_utils.broadcast_one_to_all(np.int32(len(content))))
    padded = np.frombuffer(content.ljust(length, b"\0"), np.uint8)
    return np.asarray(multihost_utils.broadcast_one_to_all(padded)).tobytes()
