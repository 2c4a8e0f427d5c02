"""Keeps in a `.tflite` file the confidence below which an answer is withheld, and the accuracy that this promises.

Reading it needs neither flatbuffers nor a runtime. A file without such an entry gives every answer. The content is
JSON, which programs without a reader of flatbuffers, such as the browser example, find as text.
"""

import json
import os
from dataclasses import asdict, dataclass

from odn_keras.deploy.tflite_file.entries import write_entry
from odn_keras.deploy.tflite_file.flatbuffer_table import metadata_entry
from odn_keras.errors import InputError

ENTRY = b"odn_keras.reject"
NONE_OF_THESE = "none of these"  # in place of a class


@dataclass(frozen=True)
class Reject:
    """Which answers are withheld.

    Attributes:
        least_confidence: an answer needs at least this probability.
        promised_accuracy: of the answers that are given, with a confidence of 95 %.

    Raises:
        InputError: for numbers that are not from 0 to 1.
    """

    least_confidence: float
    promised_accuracy: float

    def __post_init__(self):
        for name, value in asdict(self).items():
            if not isinstance(value, int | float) or not 0 <= value <= 1:
                raise InputError(f"{name} must be from 0 to 1, got {value!r}")


def write_reject(path: str | os.PathLike, reject: Reject) -> None:
    """Writes into a `.tflite` file which answers are withheld."""
    write_entry(path, ENTRY, json.dumps(asdict(reject)).encode())


def reject_of(path: str | os.PathLike) -> Reject | None:
    """Which answers of a `.tflite` file are withheld; `None` where every answer is given.

    Raises:
        InputError: where it cannot be read.
    """
    content = metadata_entry(path, ENTRY)
    if content is None:
        return None
    try:
        return Reject(**json.loads(content))
    except (ValueError, TypeError, InputError) as error:
        raise InputError(f"{path} does not say which answers to withhold ({error}): export it again") from error
