"""Keeps in a `.tflite` file how images are resized to the shape that it takes, so that devices do as training did.

Reading it needs neither flatbuffers nor a runtime. A file without such an entry stretches, as files always did.
"""

import os

from odn_keras.data.resizing import RESIZES, STRETCH
from odn_keras.deploy.tflite_file.entries import write_entry
from odn_keras.deploy.tflite_file.flatbuffer_table import metadata_entry
from odn_keras.errors import InputError

ENTRY = b"odn_keras.resize"


def write_resize(path: str | os.PathLike, resize: str) -> None:
    """Writes into a `.tflite` file how images come to its shape; leaves one that stretches as it is.

    What is behind the model in the file, such as labels, stays there.
    """
    if resize == STRETCH:
        return
    write_entry(path, ENTRY, resize.encode())


def resize_of(path: str | os.PathLike) -> str:
    """The way images are resized to the shape that a `.tflite` file takes: one of `odn_keras.data.resizing.RESIZES`.

    Raises:
        InputError: where the file names another way.
    """
    content = metadata_entry(path, ENTRY)
    resize = STRETCH if content is None else content.decode("ascii", "replace")
    if resize not in RESIZES:
        raise InputError(f"{path} wants images resized by {resize!r}, known are {', '.join(RESIZES)}: update odn_keras")
    return resize
