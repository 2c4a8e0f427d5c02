"""Reads the names of a `.tflite` file's classes. Needs nothing but Python."""

import pathlib
import unicodedata
import zipfile
import zlib
from collections.abc import Sequence

from odn_keras.deploy.tflite_file.metadata import BUFFER as METADATA
from odn_keras.deploy.tflite_file.metadata import LABELS
from odn_keras.errors import InputError

MOST, MOST_EACH = 2**16, 1024  # bytes of all labels, and for each class that many more
UNREADABLE = (
    KeyError,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


def labels_of(model: pathlib.Path, classes: int, given: pathlib.Path | None = None) -> list[str] | None:
    """The names of the classes, in the order of the outputs.

    They are those given, else in the file's metadata, else in a labels.txt beside it.

    Args:
        model: the `.tflite` file.
        classes: how many it has.
        given: a file with a name in each line.

    Returns:
        The names; `None` where there are none.

    Raises:
        InputError: where they cannot be read, or there are more or fewer of them than classes.
    """
    beside, most = model.with_name(LABELS), MOST + MOST_EACH * classes
    if given:
        origin, content = str(given), _read(given, most)
    elif _has_labels(model):
        origin, content = f"the metadata of {model}", _embedded(model, most)
    elif beside.is_file():
        origin, content = str(beside), _read(beside, most)
    else:
        return None
    if len(content) > most:
        raise InputError(f"{origin} has more than {most:,} bytes, too many for labels of {classes} classes")
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape").rstrip("\r\n")
    labels = [line.removesuffix("\r") for line in text.split("\n")]
    if len(labels) != classes:
        raise InputError(f"{origin} has {len(labels)} labels, {model} has {classes} classes: give the right labels")
    return labels


def _read(path: pathlib.Path, most: int) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(most + 1)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the labels in {path} ({error})") from error


def _has_labels(model: pathlib.Path) -> bool:
    """True where labels belong to the file. They are a zip behind the model, which a truncated file has lost."""
    content = model.read_bytes()
    return zipfile.is_zipfile(model) or (METADATA in content and LABELS.encode() in content)


def _embedded(model: pathlib.Path, most: int) -> bytes:
    try:
        with zipfile.ZipFile(model) as files, files.open(LABELS) as file:
            return file.read(most + 1)
    except UNREADABLE as error:
        raise InputError(f"cannot read the labels in {model} ({error}): give --labels") from error


def check_classes(path: pathlib.Path, labels: list[str] | None, dataset: str, class_names: Sequence[str]) -> None:
    """Checks that a dataset has the classes of the file, in the same order; bare numbers are no names.

    Args:
        path: of the file.
        labels: what `labels_of` returned.
        dataset: name of the dataset.
        class_names: its classes, as many as the file has.

    Raises:
        InputError: where they differ.
    """
    ours, theirs = ([_plain(name) for name in names] for names in (labels or class_names, class_names))
    numbers = [str(number) for number in range(len(theirs))]
    if ours == theirs or (numbers in (ours, theirs) and set(ours) != set(theirs)):
        return
    place = next(place for place, (our, their) in enumerate(zip(ours, theirs, strict=True)) if our != their)
    raise InputError(
        f"class {place} of {path} is {ours[place]!r}, that of {dataset} is {theirs[place]!r}: "
        "give a dataset of the same classes in the same order"
    )


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()
