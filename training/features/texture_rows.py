"""Rows of the collection's feature table that teach the texture part of a head."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.data.annotations import LABEL_COLUMN, NAME_COLUMN
from training.data.feature_columns import FEATURE_COLUMNS, PREPARATION_COLUMN
from training.data.feature_table import FeatureRow, read_feature_table
from training.data.label_set import LabelSet
from training.data.labels import MixedTiles, label_id_of
from training.data.places import Places
from training.data.text_tables import Columns, Row, column_name, read_columns
from training.errors import DataError
from training.networks.texture_definition import TABLE_COLUMNS

_POSITIONS: Final = [FEATURE_COLUMNS.index(column) for column in TABLE_COLUMNS]
_NUMBER: Final = column_name(PREPARATION_COLUMN)
_FIRST_THRESHOLDED_ROW: Final = 547
"""The first number of the rows whose faint pixels were set to 0 (docs/texture.md)."""


@dataclass(frozen=True, slots=True)
class TextureRows:
    """Rows of the collection's feature table that teach the texture head.

    Attributes:
        values: float64 `[n, 52]` in the order of `TABLE_COLUMNS`.
        is_thresholded: bool `[n]`; which of the table's two preparations a row has.
        class_indices: int64 `[n]`, positions of the labels.
        places: slides and cases.
        sha256: SHA-256 of the table.
    """

    values: NDArray[np.float64]
    is_thresholded: NDArray[np.bool_]
    class_indices: NDArray[np.int64]
    places: Places
    sha256: str


def read_texture_rows(table: Path, labels: LabelSet, mixed: MixedTiles) -> TextureRows:
    """Read the rows of the collection's feature table whose texture was measured.

    Args:
        table: the file, as the collection publishes it.
        labels: names of the labels.
        mixed: how mixed tiles are counted.

    Raises:
        DataError: the table cannot be read, lacks a column, or has an unknown name or label.
    """
    read = read_feature_table(table)
    numbers = _numbers(table)
    kept: list[tuple[FeatureRow, int]] = []
    for row in read.rows:
        try:
            label = label_id_of(row.classification, mixed, labels)
            Places.of_names([row.name])
        except ValueError as error:
            raise DataError(f"{table}, line {row.line}: {error}.") from error
        if label is not None and np.isfinite(row.measures[_POSITIONS]).all():
            kept.append((row, labels.ids.index(label)))
    if not kept:
        raise DataError(f"{table} has no row whose texture was measured.")
    return TextureRows(
        np.stack([row.measures[_POSITIONS] for row, _ in kept]),
        np.array([numbers[row.line] >= _FIRST_THRESHOLDED_ROW for row, _ in kept]),
        np.array([class_index for _, class_index in kept], dtype=np.int64),
        Places.of_names([row.name for row, _ in kept]),
        read.sha256,
    )


def _numbers(table: Path) -> dict[int, float]:
    """The number of each row, by its line."""
    kind = Columns((NAME_COLUMN, LABEL_COLUMN), (_NUMBER,), lambda _name, _label: False)
    read = read_columns(table, kind)
    if _NUMBER not in read.columns:
        raise DataError(
            f"{table} lacks the column {PREPARATION_COLUMN}, which says how the texture of a row "
            "was measured."
        )
    return {row.line: _number(table, row) for row in read.rows}


def _number(table: Path, row: Row) -> float:
    text = row.values[_NUMBER]
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise DataError(
            f"{table}, line {row.line}: {PREPARATION_COLUMN} is {text!r}, which is not a number."
        )
    return number
