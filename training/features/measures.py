"""The measures of an indexed table: what a table system reads instead of computing features."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.data.feature_columns import FEATURE_COLUMNS
from training.data.feature_table import read_feature_table
from training.data.index import Index
from training.data.tile_names import file_stem_of
from training.errors import DataError
from training.networks.table_systems import TableSystem


@dataclass(frozen=True, slots=True)
class Measures:
    """The inputs of every fit of a table system.

    Attributes:
        values: float64 `[n, E]` in the order of the index and of the system's columns; NaN where
            nothing was measured.
        class_indices: int64 `[n]`, positions of the labels.
    """

    values: NDArray[np.float64]
    class_indices: NDArray[np.int64]


def read_measures(
    index: Index, data_dir: Path, system: TableSystem, class_indices: NDArray[np.int64]
) -> Measures:
    """Read the rows of an index that `osteo-train index` made of a feature table.

    Args:
        index: lists the rows.
        data_dir: the folder of the table.
        system: decides which columns are read.
        class_indices: int64 `[n]`, positions of the labels.

    Raises:
        DataError: the table is missing or cannot be read, or has changed since it was indexed.
    """
    path = data_dir / index.tiles[0].file
    table = read_feature_table(path)
    if table.sha256 != index.table_sha256:
        raise DataError(f"{path} has changed since it was indexed. Run 'osteo-train index' again.")
    columns = [FEATURE_COLUMNS.index(column) for column in system.columns]
    measures = {file_stem_of(row.name): row.measures[columns] for row in reversed(table.rows)}
    return Measures(np.stack([measures[tile.name] for tile in index.tiles]), class_indices)
