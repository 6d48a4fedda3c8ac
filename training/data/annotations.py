"""The collection's table: the classification of each tile."""

from __future__ import annotations

import csv
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.errors import DataError

NAME_COLUMN: Final = "image.name"
LABEL_COLUMN: Final = "classification"


@dataclass(frozen=True, slots=True)
class TableRow:
    """One tile as the table spells it; `line` counts from 1, and line 1 is the header."""

    line: int
    name: str
    classification: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, its file name and the SHA-256 of its bytes."""

    file: str
    sha256: str
    rows: tuple[TableRow, ...]


def find_table(data_dir: Path) -> Path:
    """Find the only CSV file in the folder that has both columns.

    Raises:
        DataError: the folder does not exist, or has no such file, or more than one.
    """
    if not data_dir.is_dir():
        raise DataError(f"{data_dir} is not a folder. Set OSTEO_DATA_DIR or --data-dir.")
    candidates = [path for path in sorted(data_dir.glob("*.csv")) if _has_columns(path)]
    if len(candidates) == 1:
        return candidates[0]
    if not candidates:
        raise DataError(
            f"{data_dir} holds no CSV file with the columns {NAME_COLUMN} and {LABEL_COLUMN}. "
            "Name one with --table."
        )
    names = ", ".join(path.name for path in candidates)
    raise DataError(f"{data_dir} holds more than one table ({names}). Name one with --table.")


def read_table(path: Path) -> Table:
    """Read a table. Other columns, and spaces around a value, are ignored.

    Raises:
        DataError: the file cannot be read, is not text, or lacks a column.
    """
    content, text = _read_text(path)
    reader = csv.reader(io.StringIO(text, newline=""))
    try:
        header = [column.strip() for column in next(reader, [])]
        for column in (NAME_COLUMN, LABEL_COLUMN):
            if column not in header:
                raise DataError(f"{path}: there is no column {column}.")
        name_at, label_at = header.index(NAME_COLUMN), header.index(LABEL_COLUMN)
        rows = []
        for row in reader:
            if not any(value.strip() for value in row):
                continue
            if len(row) <= max(name_at, label_at):
                raise DataError(f"{path}, line {reader.line_num}: the row is too short.")
            name, label = row[name_at].strip(), row[label_at].strip()
            rows.append(TableRow(reader.line_num, name, label))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    return Table(path.name, hashlib.sha256(content).hexdigest(), tuple(rows))


def _has_columns(path: Path) -> bool:
    try:
        header = next(csv.reader(io.StringIO(_read_text(path)[1])), [])
    except (DataError, csv.Error):
        return False
    return {NAME_COLUMN, LABEL_COLUMN} <= {column.strip() for column in header}


def _read_text(path: Path) -> tuple[bytes, str]:
    try:
        content = path.read_bytes()
        # Excel writes a byte-order mark, which would become part of the first column's name.
        return content, content.decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}).") from error
