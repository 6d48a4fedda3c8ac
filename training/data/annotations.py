"""The collection's table: the classification of each tile."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.console.plural import plural
from training.data.label_set import comparable
from training.data.labels import RAW_LABELS
from training.data.text_tables import (
    TABLE_SUFFIXES,
    WORKBOOK_SUFFIXES,
    Columns,
    MissingColumnsError,
    has_header,
    read_columns,
)
from training.data.tile_files import list_folder, require_folder
from training.data.tile_names import parse_tile_name
from training.data.tile_source import Layout
from training.errors import DataError

NAME_COLUMN: Final = "image.name"
LABEL_COLUMN: Final = "classification"
_CLASSIFICATIONS: Final = frozenset(map(comparable, RAW_LABELS))
_SHOWN_REASONS: Final = 6


def _is_row(name: str, classification: str) -> bool:
    """Whether a line is a tile: the collection's `PathologistValidation.csv` has no header."""
    try:
        parse_tile_name(name)
    except ValueError:
        return False
    return comparable(classification) in _CLASSIFICATIONS


COLLECTION_COLUMNS: Final = Columns((NAME_COLUMN, LABEL_COLUMN), (), _is_row)


@dataclass(frozen=True, slots=True)
class TableRow:
    """One tile as the table spells it; `line` counts from 1, and `file` is the table's name."""

    line: int
    name: str
    classification: str
    file: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, its file name and the SHA-256 of its bytes."""

    file: str
    sha256: str
    rows: tuple[TableRow, ...]


def find_table(data_dir: Path) -> Path:
    """Find the only table in the folder that has both columns.

    Raises:
        DataError: the folder does not exist, or has no such file, or more than one.
    """
    require_folder(data_dir)
    found = sort_tables(tables_of(list_folder(data_dir)), {"collection": COLLECTION_COLUMNS})
    candidates = found.paths["collection"]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DataError(
            f"{data_dir} holds no CSV file with the columns {NAME_COLUMN} and {LABEL_COLUMN}. "
            f"Name one with --table.{found.passed_over}"
        )
    raise several_tables(data_dir, candidates)


def read_table(path: Path) -> Table:
    """Read a table. Other columns, and spaces around a value, are ignored.

    Raises:
        DataError: the file cannot be read, is not text, or lacks a column.
    """
    found = read_columns(path, COLLECTION_COLUMNS)
    rows = (
        TableRow(row.line, row.values[NAME_COLUMN], row.values[LABEL_COLUMN], found.file)
        for row in found.rows
    )
    return Table(found.file, found.sha256, tuple(rows))


def read_tables(paths: Sequence[Path]) -> Table:
    """Read several tables as one: the collection has one for each set of tiles, too.

    Raises:
        DataError: as for `read_table`.
    """
    tables = [read_table(path) for path in paths]
    if len(tables) == 1:
        return tables[0]
    sha256 = hashlib.sha256(" ".join(table.sha256 for table in tables).encode()).hexdigest()
    rows = tuple(row for table in tables for row in table.rows)
    return Table(", ".join(table.file for table in tables), sha256, rows)


def tables_of(paths: Sequence[Path]) -> list[Path]:
    """The files that may be tables, by their suffix; workbooks too, to say why they are not."""
    suffixes = {*TABLE_SUFFIXES, *WORKBOOK_SUFFIXES}
    return [path for path in paths if path.suffix.lower() in suffixes and not path.is_dir()]


@dataclass(frozen=True, slots=True)
class SortedTables:
    """Files that are tables, by layout, and why the others are not."""

    paths: dict[Layout, list[Path]]
    reasons: dict[Path, str]

    @property
    def all(self) -> list[Path]:
        """The tables of every layout."""
        return [path for paths in self.paths.values() for path in paths]

    @property
    def passed_over(self) -> str:
        """Why each other file is not a table, as sentences; empty if there is none."""
        if not self.reasons:
            return ""
        reasons = list(self.reasons.items())[:_SHOWN_REASONS]
        shown = "; ".join(f"{path.name}: {reason}" for path, reason in reasons)
        more = len(self.reasons) - len(reasons)
        others = f"; and {plural(more, 'other file')}" if more else ""
        return f" Passed over: {shown}{others}."


def sort_tables(paths: Sequence[Path], kinds: Mapping[Layout, Columns]) -> SortedTables:
    """Sort files into tables of some layouts and others.

    A table without a header counts only if no other file is a table.
    """
    found: dict[bool, dict[Layout, list[Path]]] = {
        is_named: {layout: [] for layout in kinds} for is_named in (True, False)
    }
    reasons: dict[Path, str] = {}
    for path in paths:
        errors = []
        for layout, kind in kinds.items():
            try:
                found[has_header(path, kind)][layout].append(path)
                break
            except DataError as error:
                errors.append(error)
        else:
            reasons[path] = _reason(path, errors, kinds)
    is_named = any(found[True].values())
    if is_named:
        nameless = [path for paths in found[False].values() for path in paths]
        reasons |= dict.fromkeys(nameless, "it does not name its columns")
    return SortedTables(found[is_named], reasons)


def _reason(path: Path, errors: Sequence[DataError], kinds: Mapping[Layout, Columns]) -> str:
    last = errors[-1]
    if not isinstance(last, MissingColumnsError):
        return str(last).removeprefix(f"{path}: ").rstrip(".")
    columns = " and none ".join(" and ".join(kind.required) for kind in kinds.values())
    return f"it has no columns {columns}; {last.first}"


def several_tables(data_dir: Path, candidates: Sequence[Path]) -> DataError:
    """The error for a folder with more than one table."""
    names = ", ".join(path.relative_to(data_dir).as_posix() for path in candidates)
    return DataError(f"{data_dir} holds more than one table ({names}). Name one with --table.")
