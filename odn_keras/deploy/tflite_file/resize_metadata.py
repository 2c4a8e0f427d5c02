"""Keeps in a `.tflite` file how images are resized to the shape that it takes, so that devices do as training did.

Reading it needs neither flatbuffers nor a runtime. A file without such an entry stretches, as files always did.
"""

import io
import os
import pathlib
import zipfile

import numpy as np

from odn_keras.data.resizing import RESIZES, STRETCH
from odn_keras.deploy.tflite_file.flatbuffer_table import metadata_entry
from odn_keras.errors import InputError
from odn_keras.files import replacing

ENTRY = b"odn_keras.resize"


def write_resize(path: str | os.PathLike, resize: str) -> None:
    """Writes into a `.tflite` file how images come to its shape; leaves one that stretches as it is.

    What is behind the model in the file, such as labels, stays there.
    """
    if resize == STRETCH:
        return
    from ai_edge_litert import schema_py_generated as schema

    from odn_keras.deploy.tflite_file.flatbuffer import read_model, write_model

    content = pathlib.Path(path).read_bytes()
    model = read_model(content)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = ENTRY, len(model.buffers)
    buffer.data = np.frombuffer(resize.encode(), np.uint8)
    model.metadata = [*(model.metadata or []), entry]
    model.buffers.append(buffer)
    written = io.BytesIO(write_model(model))
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(written, "a") as after:
            for member in before.infolist():
                after.writestr(zipfile.ZipInfo(member.filename), before.read(member))  # of 1980, as it was
    with replacing(path) as temporary:
        temporary.write_bytes(written.getvalue())


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
