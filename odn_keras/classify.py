"""Classifies image files with a `.tflite` file, on anything that runs Python.

    python -m odn_keras.classify model.tflite photo.jpg
    python -m odn_keras.classify --labels=labels.txt --top=3 model.tflite *.png

Needs NumPy, Pillow and LiteRT (`ai-edge-litert`) or its predecessor `tflite-runtime`, and nothing else. The names of
the classes come from --labels, else from the file's metadata, else from a labels.txt beside it; classes without names
are numbered. Where the file says below which confidence an answer is withheld (`odn_keras.export --reject`), "none of
these" stands before such an answer. Outputs that are no probabilities are printed as
plain numbers. Exit status: 0, or 2 for bad input; an
image that cannot be read is named on stderr, and the others are classified nevertheless.
"""

import argparse
import os
import pathlib
import signal
import sys
from typing import NoReturn

import numpy as np

from odn_keras import quiet
from odn_keras.data.images import read_image
from odn_keras.deploy.runtimes import Classifier, open_classifier
from odn_keras.deploy.tflite_file.labels import labels_of
from odn_keras.deploy.tflite_file.reject_metadata import NONE_OF_THESE, Reject, reject_of
from odn_keras.deploy.tflite_file.resize_metadata import resize_of
from odn_keras.errors import BAD_INPUT, InputError
from odn_keras.utils import console


class _Parser(argparse.ArgumentParser):  # absl's flags are not among the few packages this command may need
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def main(arguments: list[str] | None = None) -> int:
    """Classifies the images that the arguments name; returns the exit status."""
    parser = _Parser(
        prog="python -m odn_keras.classify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=_path, help="a .tflite file that odn_keras exported")
    parser.add_argument(
        "images",
        nargs="+",
        help="image files; they are resized to what the model takes, in the way it says",
    )
    parser.add_argument("--labels", type=_path, help="a file with the name of a class in each line")
    parser.add_argument("--top", type=int, default=1, help="how many of the most probable classes to print (1)")
    console.never_fail()
    try:
        values = parser.parse_args(arguments)
        if values.top < 1:
            raise InputError(f"--top must be at least 1, got {values.top}")
        with quiet.command():
            classifier = open_classifier(values.model)
        labels = labels_of(values.model, classifier.classes, values.labels) or map(str, range(classifier.classes))
        return _classify(
            classifier,
            list(map(console.printable, labels)),
            values.images,
            top=values.top,
            resize=resize_of(values.model),
            reject=reject_of(values.model),
        )
    except InputError as error:
        return _fail(error)
    except OSError as error:  # of stdout, such as a file on a full disk
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # so that Python's last flush does not fail again
        return _fail(f"cannot write the answers ({error.strerror})")


def _classify(
    classifier: Classifier,
    labels: list[str],
    files: list[str],
    top: int,
    *,
    resize: str,
    reject: Reject | None,
) -> int:
    """Prints a line for each image; returns the exit status."""
    if classifier.assumption:
        print(f"note: {console.printable(classifier.assumption)}", file=sys.stderr)
    shown = "{:.1%}" if classifier.gives_probabilities() else "{:.4g}"
    height, width, channels = classifier.input_shape
    status = 0
    for file in files:
        try:
            pixels = _read(file, (height, width), channels, resize=resize)
        except InputError as error:
            status = _fail(error)
            continue
        (outputs,) = classifier.predict(pixels[np.newaxis])
        best = np.argsort(-outputs, kind="stable")[:top]
        cells = [f"{labels[index]} {shown.format(outputs[index])}" for index in best]
        if reject and outputs[best[0]] < reject.least_confidence:
            cells.insert(0, NONE_OF_THESE)
        print("\t".join([console.printable(file), *cells]), flush=True)
    return status


def _read(file: str, size: tuple[int, int], channels: int, resize: str) -> np.ndarray:
    path = os.path.expanduser(file)
    if os.path.isdir(path):
        raise InputError(f"{file} is a folder: give the image files that are in it")
    return read_image(path, size, channels, resize=resize)


def _path(text: str) -> pathlib.Path:
    return pathlib.Path(os.path.expanduser(text))


def _fail(error: InputError | str) -> int:
    print(f"error: {console.printable(str(error))}", file=sys.stderr)
    return BAD_INPUT


def _end_as_filters_do() -> None:
    """Makes Ctrl-C and a closed pipe end the process at once, without a traceback."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


if __name__ == "__main__":
    _end_as_filters_do()
    sys.exit(main())
