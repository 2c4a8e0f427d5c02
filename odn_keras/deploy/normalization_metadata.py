"""Reads the normalisation of pixels out of a `.tflite` file's metadata. Needs neither flatbuffers nor a runtime.

The numbers of fields are those of TFLite's `schema.fbs` and `metadata_schema.fbs`.
"""

import os
import pathlib
import struct
from collections.abc import Iterator

from odn_keras.deploy.metadata import BUFFER as METADATA

MODEL_BUFFERS, MODEL_METADATA = 4, 6
ENTRY_NAME, ENTRY_BUFFER = 0, 1
BUFFER_DATA = 0
METADATA_SUBGRAPHS, GRAPH_INPUTS, TENSOR_PROCESS_UNITS = 3, 2, 4
UNIT_TYPE, UNIT_OPTIONS, NORMALIZATION = 0, 1, 1
MEAN, DEVIATION = 0, 1


def normalization_of(path: str | os.PathLike) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation, of one channel or of each, of the first input; `None` where the file has none."""
    try:
        model = _Table.root(pathlib.Path(path).read_bytes())
        for entry in model.tables(MODEL_METADATA):
            if entry.content(ENTRY_NAME) == METADATA:
                buffer = list(model.tables(MODEL_BUFFERS))[entry.number(ENTRY_BUFFER, "<I")]
                return _normalization(_Table.root(buffer.content(BUFFER_DATA)))
    except (struct.error, IndexError):  # damaged offsets
        return None
    return None


def _normalization(metadata: "_Table") -> tuple[list[float], list[float]] | None:
    graph = next(metadata.tables(METADATA_SUBGRAPHS), None)
    image = next(graph.tables(GRAPH_INPUTS), None) if graph else None
    for unit in image.tables(TENSOR_PROCESS_UNITS) if image else ():
        options = unit.table(UNIT_OPTIONS)
        if options and unit.number(UNIT_TYPE, "<B") == NORMALIZATION:
            return options.floats(MEAN), options.floats(DEVIATION)
    return None


class _Table:
    """A table of a flatbuffer."""

    def __init__(self, content: bytes, place: int):
        self._content, self._place = content, place
        (back,) = struct.unpack_from("<i", content, place)
        self._fields = place - back

    @classmethod
    def root(cls, content: bytes) -> "_Table":
        return cls(content, *struct.unpack_from("<I", content))

    def number(self, field: int, kind: str) -> int:
        place = self._at(field)
        return struct.unpack_from(kind, self._content, place)[0] if place else 0

    def table(self, field: int) -> "_Table | None":
        place = self._at(field)
        return _Table(self._content, self._followed(place)) if place else None

    def tables(self, field: int) -> Iterator["_Table"]:
        begin, count = self._vector(field)
        for number in range(count):
            yield _Table(self._content, self._followed(begin + 4 * number))

    def content(self, field: int) -> bytes:
        begin, count = self._vector(field)
        return self._content[begin : begin + count]

    def floats(self, field: int) -> list[float]:
        begin, count = self._vector(field)
        return list(struct.unpack_from(f"<{count}f", self._content, begin))

    def _vector(self, field: int) -> tuple[int, int]:
        place = self._at(field)
        if not place:
            return 0, 0
        begin = self._followed(place)
        return begin + 4, struct.unpack_from("<I", self._content, begin)[0]

    def _followed(self, place: int) -> int:
        return place + struct.unpack_from("<I", self._content, place)[0]

    def _at(self, field: int) -> int:
        """Where a field is; 0 where it is left out."""
        (size,) = struct.unpack_from("<H", self._content, self._fields)
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self._content, self._fields + slot)[0] if slot < size else 0
        return self._place + offset if offset else 0
