"""Rows of the collection's feature table as tiles, which have measures instead of pixels."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.console.plural import plural
from training.data.annotations import (
    COLLECTION_COLUMNS,
    LABEL_COLUMN,
    NAME_COLUMN,
    several_tables,
    sort_tables,
    tables_of,
)
from training.data.collection_tiles import place_of_name, relative
from training.data.feature_columns import FEATURE_COLUMNS
from training.data.text_tables import Columns, Row, column_name, read_columns
from training.data.tile_files import files_below, list_folder, require_folder
from training.data.tile_names import file_stem_of, parse_tile_name
from training.data.tile_rules import Rule, TileProblem
from training.data.tile_source import SourceTile, TileSource
from training.errors import DataError

_KEYS: Final = {column_name(column): column for column in FEATURE_COLUMNS}
"""The columns by the name that `read_columns` gives them."""
_COLUMNS: Final = Columns((NAME_COLUMN, LABEL_COLUMN), tuple(_KEYS), lambda _name, _label: False)
_NOT_MEASURED: Final = frozenset({"", "na", "n/a", "nan"})
"""How R, pandas and spreadsheets write a missing value, in lower case."""
_SHOWN_COLUMNS: Final = 3


@dataclass(frozen=True, slots=True)
class FeatureRow:
    """One row of the table.

    Attributes:
        line: line of the file, from 1.
        name, classification: as the table spells them.
        measures: float64 `[62]` in the order of `FEATURE_COLUMNS`; NaN where nothing was measured.
        problem: the first value that is not a number, in words; None if there is none.
    """

    line: int
    name: str
    classification: str
    measures: NDArray[np.float64]
    problem: str | None


@dataclass(frozen=True, slots=True)
class FeatureTable:
    """The rows of a feature table, and the SHA-256 of its file."""

    sha256: str
    rows: tuple[FeatureRow, ...]


def find_feature_table(data_dir: Path) -> Path:
    """Find the only table in the folder, or else below it, that has every feature.

    Raises:
        DataError: there is none, or more than one; the error says which columns the closest lacks.
    """
    require_folder(data_dir)
    lacks: dict[Path, list[str]] = {}
    for paths in (list_folder(data_dir), files_below(data_dir)):
        named = sort_tables(tables_of(paths), {"collection": COLLECTION_COLUMNS})
        lacks = {
            path: _lacking(read_columns(path, _COLUMNS).columns)
            for path in named.paths["collection"]
        }
        found = [path for path, columns in lacks.items() if not columns]
        if len(found) > 1:
            raise several_tables(data_dir, found)
        if found:
            return found[0]
    closest = min(lacks, key=lambda path: len(lacks[path]), default=None)
    hint = "" if closest is None else f" {closest.name} lacks {_listed(lacks[closest])}."
    raise DataError(
        f"{data_dir} holds no feature table, such as the collection's ML_Features_1144.csv.{hint} "
        "Name it with --table."
    )


def read_feature_table(path: Path) -> FeatureTable:
    """Read every feature of every row.

    Raises:
        DataError: the file cannot be read, is not text, or lacks a column.
    """
    read = read_columns(path, _COLUMNS)
    if lacking := _lacking(read.columns):
        raise DataError(
            f"{path} is not the collection's feature table: it lacks {_listed(lacking)}."
        )
    return FeatureTable(read.sha256, tuple(map(_row_of, read.rows)))


def feature_source(data_dir: Path, table: Path | None = None) -> TileSource:
    """The tiles that a feature table describes.

    Args:
        data_dir: the folder that contains the table.
        table: the table; if None, it is searched in the folder.

    Raises:
        DataError: there is no such table, it cannot be read, or it is outside the folder.
    """
    path = find_feature_table(data_dir) if table is None else table
    if not path.resolve().is_relative_to(data_dir.resolve()):
        raise DataError(f"{path} is not in {data_dir}. Set --data-dir to the folder of the table.")
    read = read_feature_table(path)
    file = data_dir / path.resolve().relative_to(data_dir.resolve())
    tiles = tuple(_tile_of(row, file, relative(file, data_dir)) for row in read.rows)
    n_missing = sum(int(np.isnan(row.measures).sum()) for row in read.rows if not row.problem)
    n_rows = sum(bool(np.isnan(row.measures).any()) for row in read.rows if not row.problem)
    notes = [f"{plural(n_missing, 'value')} not measured, in {plural(n_rows, 'row')}."]
    return TileSource(
        "features", file.name, read.sha256, tiles, (), tuple(notes if n_missing else ())
    )


def _row_of(row: Row) -> FeatureRow:
    measures, problem = [], None
    for key, column in _KEYS.items():
        text = row.values[key]
        value = _number(text)
        if value is None:
            value = math.nan
            problem = problem or f"{column} is {text!r}, which is not a finite number"
        measures.append(value)
    if problem is None and all(map(math.isnan, measures)):
        problem = "no feature has a value"
    name, classification = row.values[NAME_COLUMN], row.values[LABEL_COLUMN]
    return FeatureRow(row.line, name, classification, np.array(measures), problem)


def _number(text: str) -> float | None:
    """NaN if nothing was measured; None if the text is not a finite number."""
    if text.lower() in _NOT_MEASURED:
        return math.nan
    try:
        value = float(text)
    except ValueError:
        return None
    # Python also reads `1_000`, which no table means as a number.
    return value if math.isfinite(value) and "_" not in text else None


def _tile_of(row: FeatureRow, file: Path, table: str) -> SourceTile:
    where = f"{table}, line {row.line}"
    problem = None if row.problem is None else TileProblem(Rule.MEASURE, where, row.problem)
    try:
        parse_tile_name(row.name)
    except ValueError as error:
        problem = TileProblem(Rule.NAME, where, str(error))
    return SourceTile(
        name=file_stem_of(row.name),
        row=where,
        spelled=row.name,
        raw_label=row.classification,
        file=file,
        place=place_of_name(row.name),
        problem=problem,
        measures_sha256=hashlib.sha256(row.measures.astype("<f8").tobytes()).hexdigest(),
    )


def _lacking(columns: frozenset[str]) -> list[str]:
    return [column for key, column in _KEYS.items() if key not in columns]


def _listed(columns: Sequence[str]) -> str:
    shown = ", ".join(columns[:_SHOWN_COLUMNS])
    more = len(columns) - _SHOWN_COLUMNS
    noun = "column" if len(columns) == 1 else "columns"
    return f"the {noun} {shown}" + (f" and {more} more" if more > 0 else "")
