"""Read a table as spreadsheets, R and Python write it: any encoding and separator, or no header.

Whatever is unambiguous is accepted; anything else is refused with the reason.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from training.data.label_set import comparable
from training.errors import DataError

TABLE_SUFFIXES: Final = (".csv", ".tsv", ".tab", ".txt")
WORKBOOK_SUFFIXES: Final = (".xlsx", ".xls", ".ods", ".numbers")
_SEPARATORS: Final = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_WORKBOOK_MARKS: Final = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
_HINT: Final = re.compile(r'\s*"?sep=(.)"?\s*', re.IGNORECASE)
"""First line with which Excel names the separator."""
_SHOWN_COLUMNS: Final = 8
_SHOWN_CHARACTERS: Final = 120


class MissingColumnsError(DataError):
    """A file lacks columns of a kind of table; `first` says what its first line is."""

    def __init__(self, path: Path, columns: Sequence[str], first: str) -> None:
        self.first = first
        lacking = " and no column ".join(columns)
        super().__init__(f"{path}: there is no column {lacking}; {first}.")


@dataclass(frozen=True, slots=True)
class Columns:
    """What a kind of table must and may contain.

    Attributes:
        required: names of columns, in the order of a table without a header.
        optional: columns that are read if they are there.
        is_row: whether a first line with these two values is a tile, so that there is no header.
    """

    required: tuple[str, str]
    optional: tuple[str, ...]
    is_row: Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """Values by column, without spaces around them; `line` counts from 1."""

    line: int
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ColumnTable:
    """The rows of a table, its file name, the SHA-256 of its bytes, and the columns it has."""

    file: str
    sha256: str
    columns: frozenset[str]
    rows: tuple[Row, ...]


def read_columns(path: Path, kind: Columns) -> ColumnTable:
    """Read a table of a kind; other columns and blank lines are ignored.

    Raises:
        DataError: the file cannot be read, is not text, lacks a column, or a row does not fit.
    """
    content, text = _read_text(path)
    where, first_line = _find_columns(path, text, kind)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=where.separator)
    try:
        rows = tuple(_rows_of(reader, path, where, first_line))
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num}: {error}.") from error
    sha256 = hashlib.sha256(content).hexdigest()
    return ColumnTable(path.name, sha256, frozenset(where.position), rows)


def has_header(path: Path, kind: Columns) -> bool:
    """Whether a table of this kind begins with the names of its columns.

    Raises:
        MissingColumnsError: the file is not a table of this kind.
        DataError: the file cannot be read or is not text.
    """
    return _find_columns(path, _read_text(path)[1], kind)[0].has_header


@dataclass(frozen=True, slots=True)
class _Places:
    """Where the columns are: their positions, and how many values a row may have."""

    separator: str
    position: dict[str, int]
    n_columns: int
    has_header: bool


def _find_columns(path: Path, text: str, kind: Columns) -> tuple[_Places, int]:
    """The places of the columns, and the number of the first line with values."""
    lines = text.splitlines()
    hinted = bool(lines) and _HINT.fullmatch(lines[0]) is not None
    headers = {
        separator: _first_row(text, separator, skipped=int(hinted)) for separator in _SEPARATORS
    }
    for separator, (line, cells) in headers.items():
        names = [column_name(cell) for cell in cells]
        if set(kind.required) <= set(names):
            twice = [name for name in (*kind.required, *kind.optional) if names.count(name) > 1]
            if twice:
                raise DataError(f"{path}: the column {twice[0]} is there twice.")
            wanted = {*kind.required, *kind.optional}
            position = {name: i for i, name in enumerate(names) if name in wanted}
            return _Places(separator, position, len(names), True), line + 1
    for separator, (line, cells) in headers.items():
        filled = [cell for cell in cells if cell]
        if len(filled) == 2 and kind.is_row(*filled):
            columns = zip(kind.required, filled, strict=True)
            position = {name: cells.index(cell) for name, cell in columns}
            return _Places(separator, position, len(cells), False), line
    cells = max((cells for _, cells in headers.values()), key=len)
    names = [column_name(cell) for cell in cells]
    lacking = [name for name in kind.required if name not in names]
    shown = ", ".join(cells[:_SHOWN_COLUMNS]) + (", ..." if len(cells) > _SHOWN_COLUMNS else "")
    first = f"its first line is {shown[:_SHOWN_CHARACTERS]!r}" if cells else "it is empty"
    raise MissingColumnsError(path, lacking, first)


def _first_row(text: str, separator: str, skipped: int) -> tuple[int, list[str]]:
    """Line number and values of the first line that is not blank."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
    try:
        for cells in reader:
            if reader.line_num > skipped and any(cell.strip() for cell in cells):
                return reader.line_num, [cell.strip() for cell in cells]
    except csv.Error:
        return 0, []
    return 0, []


def _rows_of(reader: Any, path: Path, where: _Places, first_line: int) -> Iterator[Row]:
    for cells in reader:
        values = [cell.strip() for cell in cells]
        if reader.line_num < first_line or not any(values):
            continue
        if len(values) <= max(where.position.values()):
            raise DataError(f"{path}, line {reader.line_num}: the row is too short.")
        if any(values[where.n_columns :]):
            raise DataError(
                f"{path}, line {reader.line_num}: the row has {len(values)} values for "
                f"{where.n_columns} columns. Put quotes around a value that contains "
                f"{_SEPARATORS[where.separator]}."
            )
        yield Row(reader.line_num, {name: values[i] for name, i in where.position.items()})


def column_name(cell: str) -> str:
    """The name that `read_columns` gives a column: case, spaces, `_` and `-` make no difference."""
    return re.sub(r"[\s._-]+", ".", comparable(cell))


def _read_text(path: Path) -> tuple[bytes, str]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    if content.startswith(_WORKBOOK_MARKS) or path.suffix.lower() in WORKBOOK_SUFFIXES:
        raise DataError(f"{path}: it is a workbook, not text. Save it as CSV.")
    encoding = _encoding_of(content)
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: it is not text in UTF-8, UTF-16 or Latin-1 (byte {error.start})."
        ) from error
    if "\0" in text:
        raise DataError(f"{path}: it is not text (it contains zero bytes).")
    return content, text


def _encoding_of(content: bytes) -> str:
    # Excel writes byte-order marks, which would become part of the first column's name.
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    head = content[:200]
    if len(head) >= 4 and 3 * head.count(0) > len(head):  # half of ASCII text in UTF-16 is zero
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    try:
        content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "cp1252"  # Latin-1 with the characters that Windows adds to it
    return "utf-8-sig"
