"""Reads tables of a flatbuffer; of a `.tflite` file, an entry of its metadata. Needs neither flatbuffers nor a runtime.

The numbers of fields are those of TFLite's `schema.fbs`.
"""

import os
import pathlib
import struct
from collections.abc import Iterator

MODEL_BUFFERS, MODEL_METADATA = 4, 6
ENTRY_NAME, ENTRY_BUFFER = 0, 1
BUFFER_DATA = 0


def metadata_entry(path: str | os.PathLike, name: bytes) -> bytes | None:
    """The content of the metadata entry of that name in a `.tflite` file; `None` where it has none."""
    try:
        model = Table.root(pathlib.Path(path).read_bytes())
        for entry in model.tables(MODEL_METADATA):
            if entry.content(ENTRY_NAME) == name:
                return list(model.tables(MODEL_BUFFERS))[entry.number(ENTRY_BUFFER, "<I")].content(BUFFER_DATA)
    except (struct.error, IndexError):  # damaged offsets
        return None
    return None


class Table:
    """A table of a flatbuffer."""

    def __init__(self, content: bytes, place: int):
        self._content, self._place = content, place
        (back,) = struct.unpack_from("<i", content, place)
        self._fields = place - back

    @classmethod
    def root(cls, content: bytes) -> "Table":
        """The outermost table."""
        return cls(content, *struct.unpack_from("<I", content))

    def number(self, field: int, kind: str) -> int:
        """A number, of a kind as `struct` has it; 0 where it is left out."""
        place = self._at(field)
        return struct.unpack_from(kind, self._content, place)[0] if place else 0

    def table(self, field: int) -> "Table | None":
        """A table; `None` where it is left out."""
        place = self._at(field)
        return Table(self._content, self._followed(place)) if place else None

    def tables(self, field: int) -> Iterator["Table"]:
        """A vector of tables."""
        begin, count = self._vector(field)
        for number in range(count):
            yield Table(self._content, self._followed(begin + 4 * number))

    def content(self, field: int) -> bytes:
        """A vector of bytes, or a text."""
        begin, count = self._vector(field)
        return self._content[begin : begin + count]

    def floats(self, field: int) -> list[float]:
        """A vector of floats."""
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
        """The place of a field; 0 where it is left out."""
        (size,) = struct.unpack_from("<H", self._content, self._fields)
        slot = 4 + 2 * field
        offset = struct.unpack_from("<H", self._content, self._fields + slot)[0] if slot < size else 0
        return self._place + offset if offset else 0
