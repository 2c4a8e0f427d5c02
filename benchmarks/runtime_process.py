"""A runtime of `.tflite` files in a process, and where need be a Python environment, of its own.

That environment needs NumPy and the runtime only: this module is both sides of the process, and neither imports more.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import Any

import numpy as np

from odn_keras.deploy.runtimes import open_classifier, timed
from odn_keras.errors import InputError

ROOT = pathlib.Path(__file__).parents[1]


class RuntimeProcess:
    """A classifier in a process of its own; leaving the `with` block ends it.

    Args:
        python: the environment's Python; it gets this package from here.
        runtime: one of `odn_keras.deploy.runtimes.RUNTIMES`.
        model: the `.tflite` file.
        images: an `.npy` file of uint8 pixels of shape (n, height, width, channels).

    Raises:
        InputError: where the runtime is not in that environment, or does not take the file.
    """

    def __init__(self, python: str, runtime: str, model: pathlib.Path, images: pathlib.Path):
        self._what = f"{runtime} in {python}"
        self._chatter = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process runs)
        try:
            self._process = subprocess.Popen(
                [python, "-m", __name__, runtime, os.fspath(model), os.fspath(images)],
                env={**os.environ, "PYTHONPATH": os.fspath(ROOT)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._chatter,
                text=True,
            )
        except OSError as error:
            self._chatter.close()
            raise InputError(f"{self._what}: {error.strerror}") from error
        self._answer()

    def __enter__(self) -> "RuntimeProcess":
        return self

    def __exit__(self, *_) -> None:
        self._process.communicate()  # it ends with its input
        self._chatter.close()

    def timed(self, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
        """What `odn_keras.deploy.runtimes.timed` says of images `start` to `stop`."""
        print(json.dumps([start, stop]), file=self._process.stdin, flush=True)
        answer = self._answer()
        return np.array(answer["probabilities"], np.float32), np.array(answer["milliseconds"])

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": self._last_words()}
        if "error" in answer:
            self.__exit__()
            raise InputError(f"{self._what}: {answer['error']}")
        return answer

    def _last_words(self) -> str:
        self._process.wait()
        self._chatter.seek(0)
        lines = self._chatter.read().strip().splitlines()
        return lines[-1] if lines else f"ended with exit status {self._process.returncode}"


def _serve(runtime: str, model: str, images_file: str) -> None:
    """Answers a line of JSON on standard input with one on standard output, which native libraries do not write to."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**value) -> None:
        print(json.dumps(value), file=answers, flush=True)

    try:
        images = np.load(images_file)
        with open_classifier(model, runtime) as classifier:
            answer(classes=classifier.classes)
            for line in sys.stdin:
                start, stop = json.loads(line)
                probabilities, milliseconds = timed(classifier, images[start:stop])
                answer(probabilities=probabilities.tolist(), milliseconds=milliseconds.tolist())
    except InputError as error:
        answer(error=str(error))


if __name__ == "__main__":
    _serve(*sys.argv[1:])
