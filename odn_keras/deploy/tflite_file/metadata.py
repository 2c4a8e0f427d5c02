"""Writes the metadata of a `.tflite` file that Android's task library reads, in TFLite's metadata schema.

The tables and the numbers of their fields are those of `metadata_schema.fbs`, identifier M001.
"""

import io
import zipfile
from collections.abc import Sequence

import numpy as np

from odn_keras.deploy.tflite_file.flatbuffer import read_model, write_model

BUFFER = b"TFLITE_METADATA"
LABELS = "labels.txt"
IDENTIFIER = b"M001"
PARSER_VERSION = "1.0.0"

IMAGE_PROPERTIES, NORMALIZATION_OPTIONS = 2, 1  # members of the schema's unions
RGB, TENSOR_AXIS_LABELS = 1, 2


def with_metadata(
    content: bytes, labels: Sequence[str], *, name: str, description: str, probabilities: bool = True
) -> bytes:
    """Adds metadata to an image classifier of RGB images: a description, the normalisation, the labels.

    Args:
        content: of a `.tflite` file whose input is pixels from 0 to 255.
        labels: the name of each class, in the order of the outputs.
        name: of the model, for people.
        description: of the model, for people.
        probabilities: whether the outputs are; other scores are called so, and have no range.

    Returns:
        The new file's content: the model, and behind it a zip with the labels.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = read_model(content)
    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = BUFFER, len(model.buffers)
    buffer.data = np.frombuffer(_metadata(name, description, probabilities), np.uint8)
    model.metadata = [*(model.metadata or []), entry]
    model.buffers.append(buffer)
    file = io.BytesIO(write_model(model))
    with zipfile.ZipFile(file, "a") as files:
        stamp = zipfile.ZipInfo(LABELS)  # of 1980, so that equal models are equal files
        files.writestr(stamp, "".join(f"{label}\n" for label in labels).encode())
    return file.getvalue()


def _metadata(name: str, description: str, probabilities: bool) -> bytes:
    import flatbuffers

    builder = flatbuffers.Builder(1024)

    def table(fields: dict[int, int], small: dict[int, int] | None = None) -> int:
        """A table of these offsets, and of one-byte numbers, by the number of their field."""
        small = small or {}
        builder.StartObject(1 + max([*fields, *small]))
        for field, offset in fields.items():
            builder.PrependUOffsetTRelativeSlot(field, offset, 0)
        for field, number in small.items():
            builder.PrependInt8Slot(field, number, 0)
        return builder.EndObject()

    def vector(*offsets: int) -> int:
        builder.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            builder.PrependUOffsetTRelative(offset)
        return builder.EndVector()

    def floats(*numbers: float) -> int:
        return builder.CreateNumpyVector(np.array(numbers, np.float32))

    text = builder.CreateString
    normalization = table({0: floats(0), 1: floats(255)})  # mean, standard deviation
    image = table(
        {
            0: text("image"),
            1: text("The image to classify, in RGB."),
            3: table({1: table({}, {0: RGB})}, {0: IMAGE_PROPERTIES}),
            4: vector(table({1: normalization}, {0: NORMALIZATION_OPTIONS})),
            5: table({0: floats(255), 1: floats(0)}),  # max, min
        }
    )
    file = table({0: text(LABELS), 1: text("The names of the classes.")}, {2: TENSOR_AXIS_LABELS})
    what = "probability" if probabilities else "score"
    output = {0: text(what), 1: text(f"The {what} of each class."), 6: vector(file)}
    if probabilities:
        output[5] = table({0: floats(1), 1: floats(0)})  # max, min
    graph = table({2: vector(image), 3: vector(table(output))})
    whole = table({0: text(name), 1: text(description), 2: text("1"), 3: vector(graph), 7: text(PARSER_VERSION)})
    builder.Finish(whole, IDENTIFIER)
    return bytes(builder.Output())
