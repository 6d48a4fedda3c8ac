"""Records for other programs: JSON lines, which can still be verified, and CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from datetime import UTC, date, datetime, time
from typing import Any, Final, TextIO

from app.audit.chain import Row
from app.audit.records import FIELD_NAMES, format_time

CSV_COLUMNS: Final = ("at", "chain", "seq", *(n for n in FIELD_NAMES if n != "at"), "hash")
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
"""A spreadsheet takes text that begins with one of these for a formula, and computes it."""


def parse_time(text: str) -> str:
    """A time in the form of the records.

    Args:
        text: an ISO 8601 date, which is its beginning, or date and time; in UTC if it says nothing
            else.

    Raises:
        ValueError: the text is neither.
    """
    try:
        if len(text) == len("2026-11-26"):
            at = datetime.combine(date.fromisoformat(text), time(), UTC)
        else:
            at = datetime.fromisoformat(text)
        return format_time(at if at.tzinfo else at.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is not a date such as 2026-11-26, nor a time such as 2026-11-26T14:30"
        ) from None


def json_line(row: Row) -> str:
    """The document as it was hashed, with a last member `hash`."""
    return f'{row.record[:-1]},"hash":"{row.hash}"}}'


def write_json_lines(rows: Iterable[Row], stream: TextIO) -> int:
    """Write a line for each row; returns their number."""
    n_rows = 0
    for row in rows:
        stream.write(f"{json_line(row)}\n")
        n_rows += 1
    return n_rows


def write_csv(rows: Iterable[Row], stream: TextIO) -> int:
    """Write a header and a line for each row; returns the number of rows.

    Labels are separated by blanks; probabilities and details are JSON. Text that a spreadsheet
    would take for a formula begins with an apostrophe: strangers choose request ids.
    """
    writer = csv.DictWriter(stream, CSV_COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    n_rows = 0
    for row in rows:
        writer.writerow(_cells(row))
        n_rows += 1
    return n_rows


def _cells(row: Row) -> dict[str, Any]:
    document = json.loads(row.record)
    cells = {name: document[name] for name in CSV_COLUMNS if name in document}
    for name in ("prediction_set", "review_reasons"):
        if name in cells:
            cells[name] = " ".join(cells[name])
    for name in ("probabilities", "details"):
        if name in cells:
            cells[name] = json.dumps(cells[name], ensure_ascii=False, separators=(",", ":"))
    return {name: _harmless(cell) for name, cell in cells.items()} | {"hash": row.hash}


def _harmless(cell: Any) -> Any:
    is_formula = isinstance(cell, str) and cell.startswith(_FORMULA_STARTS)
    return f"'{cell}" if is_formula else cell
