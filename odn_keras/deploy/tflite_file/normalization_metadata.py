"""Reads the normalisation of pixels out of a `.tflite` file's metadata. Needs neither flatbuffers nor a runtime.

The numbers of fields are those of `metadata_schema.fbs`.
"""

import os
import struct

from odn_keras.deploy.tflite_file.flatbuffer_table import Table, metadata_entry
from odn_keras.deploy.tflite_file.metadata import BUFFER as METADATA

METADATA_SUBGRAPHS, GRAPH_INPUTS, TENSOR_PROCESS_UNITS = 3, 2, 4
UNIT_TYPE, UNIT_OPTIONS, NORMALIZATION = 0, 1, 1
MEAN, DEVIATION = 0, 1


def normalization_of(path: str | os.PathLike) -> tuple[list[float], list[float]] | None:
    """Mean and standard deviation, of one channel or of each, of the first input; `None` where the file has none."""
    content = metadata_entry(path, METADATA)
    try:
        return _normalization(Table.root(content)) if content else None
    except (struct.error, IndexError):  # damaged offsets
        return None


def _normalization(metadata: Table) -> tuple[list[float], list[float]] | None:
    graph = next(metadata.tables(METADATA_SUBGRAPHS), None)
    image = next(graph.tables(GRAPH_INPUTS), None) if graph else None
    for unit in image.tables(TENSOR_PROCESS_UNITS) if image else ():
        options = unit.table(UNIT_OPTIONS)
        if options and unit.number(UNIT_TYPE, "<B") == NORMALIZATION:
            return options.floats(MEAN), options.floats(DEVIATION)
    return None
