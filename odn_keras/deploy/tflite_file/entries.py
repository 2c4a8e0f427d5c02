"""Writes entries of a `.tflite` file's metadata, of which `flatbuffer_table.metadata_entry` reads the content."""

import io
import os
import pathlib
import zipfile

import numpy as np

from odn_keras.files import replacing


def write_entry(path: str | os.PathLike, name: bytes, content: bytes) -> None:
    """Writes an entry, in place of one of that name.

    What is behind the model in the file, such as labels, stays there.
    """
    from ai_edge_litert import schema_py_generated as schema

    from odn_keras.deploy.tflite_file.flatbuffer import read_model, write_model

    file = pathlib.Path(path).read_bytes()
    model = read_model(file)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = name, len(model.buffers)
    buffer.data = np.frombuffer(content, np.uint8)
    model.metadata = [*(other for other in model.metadata or [] if other.name != name), entry]
    model.buffers.append(buffer)
    written = io.BytesIO(write_model(model))
    if zipfile.is_zipfile(io.BytesIO(file)):
        with zipfile.ZipFile(io.BytesIO(file)) as before, zipfile.ZipFile(written, "a") as after:
            for member in before.infolist():
                after.writestr(zipfile.ZipInfo(member.filename), before.read(member))  # of 1980, as it was
    with replacing(path) as temporary:
        temporary.write_bytes(written.getvalue())
