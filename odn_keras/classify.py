"""Classifies image files with a `.tflite` file, on anything that runs Python.

    python -m odn_keras.classify model.tflite photo.jpg
    python -m odn_keras.classify --labels=labels.txt --top=3 model.tflite *.png

Needs NumPy, Pillow and LiteRT (`ai-edge-litert`) or its predecessor `tflite-runtime`, and nothing else. The names of
the classes come from --labels, else from the file's own metadata, else from a labels.txt beside it; classes without
names are numbered. Exit status: 0, or 2 for bad input.
"""

import argparse
import pathlib
import signal
import sys
import zipfile
from typing import NoReturn

import numpy as np

from odn_keras.deploy.metadata import BUFFER as METADATA
from odn_keras.deploy.metadata import LABELS
from odn_keras.deploy.runtimes import open_classifier
from odn_keras.errors import InputError
from odn_keras.images import read_image

BAD_INPUT = 2


def labels_of(model: pathlib.Path, given: pathlib.Path | None, classes: int) -> list[str]:
    """The names of the classes, in the order of the outputs.

    Raises:
        InputError: where there are more or fewer of them than classes.
    """
    beside = model.with_name(LABELS)
    if given:
        origin, text = str(given), _read(given)
    elif _has_labels(model):
        origin, text = f"the metadata of {model}", _embedded(model)
    elif beside.is_file():
        origin, text = str(beside), _read(beside)
    else:
        return [str(number) for number in range(classes)]
    labels = text.splitlines()
    if len(labels) != classes:
        raise InputError(f"{origin} has {len(labels)} labels, {model} has {classes} classes: give the right --labels")
    return labels


def _read(path: pathlib.Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig").rstrip()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the labels in {path} ({error})") from error


def _has_labels(model: pathlib.Path) -> bool:
    """Whether labels belong to the file: metadata with files are a zip behind the model, which a cut file has lost."""
    content = model.read_bytes()
    return zipfile.is_zipfile(model) or (METADATA in content and LABELS.encode() in content)


def _embedded(model: pathlib.Path) -> str:
    try:
        with zipfile.ZipFile(model) as files:
            return files.read(LABELS).decode("utf-8")
    except (KeyError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read the labels in {model} ({error}): give --labels") from error


class _Parser(argparse.ArgumentParser):  # absl's flags are not among the few packages this command may need
    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see --help")


def main(arguments: list[str] | None = None) -> int:
    parser = _Parser(
        prog="python -m odn_keras.classify", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=pathlib.Path, help="a .tflite file that odn_keras exported")
    parser.add_argument("images", nargs="+", help="image files; they are resized to what the model takes")
    parser.add_argument("--labels", type=pathlib.Path, help="a file with the name of a class in each line")
    parser.add_argument("--top", type=int, default=1, help="how many of the most probable classes to print (1)")
    try:
        values = parser.parse_args(arguments)
        if values.top < 1:
            raise InputError(f"--top must be at least 1, got {values.top}")
        classifier = open_classifier(values.model)
        labels = labels_of(values.model, values.labels, classifier.classes)
        height, width, channels = classifier.input_shape
        for file in values.images:
            (probabilities,) = classifier.predict(read_image(file, (height, width), channels)[np.newaxis])
            best = np.argsort(-probabilities, kind="stable")[: values.top]
            print(f"{file}\t" + "\t".join(f"{labels[index]} {probabilities[index]:.1%}" for index in best), flush=True)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_INPUT
    return 0


def _end_as_filters_do() -> None:
    """Lets Ctrl-C and a closed pipe end the process at once, without a traceback."""
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)


if __name__ == "__main__":
    _end_as_filters_do()
    sys.exit(main())
