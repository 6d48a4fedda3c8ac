"""Tables of `osteo audit`, for people."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.audit.chain import Row
from app.audit.findings import Verification
from app.cli.names import one_line

if TYPE_CHECKING:
    from app.audit.prune import Removal

_CONSOLE: Final = Console(highlight=False, emoji=False)
_NO_LIMIT: Final = 1_000_000
"""Columns of a table that no terminal shows."""
_SECONDS: Final = len("2026-11-26T06:14:35")


def print_chains(found: Verification) -> None:
    """Print each chain with its records and its period, and the heads to keep elsewhere."""
    table = _table("chain", "records", "removed", "from", "to", "state")
    for report in found.chains:
        state = Text("changed", "red") if report.findings else Text("whole", "green")
        counts = f"{report.n_records}", f"{report.n_removed}"
        period = _short(report.first_at), _short(report.last_at)
        table.add_row(*map(_cell, (report.chain, *counts, *period)), state)
    _print(table)
    for report in found.chains:
        if report.head is not None:
            _CONSOLE.print(Text(f"head {one_line(str(report.head))}"), soft_wrap=True)


def print_found(rows: Iterable[Row]) -> int:
    """Print what was recorded of a tile or a request; returns the number of records."""
    table = _table("time (UTC)", "event", "answer", "model", "caller", "request", "record")
    n_rows = 0
    for row in rows:
        document = json.loads(row.record)
        cells = (
            _short(row.at),
            f"{row.event} {document.get('status', '')}",
            _answer(document),
            _model(document),
            document.get("caller", ""),
            row.request_id or "",
            f"{row.chain}:{row.seq}",
        )
        table.add_row(*map(_cell, cells))
        n_rows += 1
    if n_rows:
        _print(table)
    return n_rows


def print_removals(removals: Sequence[Removal]) -> None:
    """Print what a prune will remove."""
    table = _table("chain", "records to remove", "from", "to", "last record")
    for removal in removals:
        last = removal.last
        period = _short(removal.first_at), _short(last.at)
        table.add_row(*map(_cell, (last.chain, f"{removal.n_records}", *period, f"{last.seq}")))
    _print(table)


def _answer(document: dict[str, Any]) -> str:
    if "prediction" not in document:
        count = document.get("count")
        times = f" ({count} times)" if count else ""
        return f"{document.get('reason', '')}{times}"
    prediction = document["prediction"]
    probability = document.get("probabilities", {}).get(prediction)
    share = "" if probability is None else f" {probability:.4f}"
    reasons = document.get("review_reasons")
    return f"{prediction}{share}" + (f"; review: {', '.join(reasons)}" if reasons else "")


def _model(document: dict[str, Any]) -> str:
    parts = [document.get("model_name"), document.get("model_version"), document.get("runtime")]
    bundle = str(document.get("bundle_sha256", ""))[:12]
    return " ".join(str(part) for part in (*parts, document.get("precision"), bundle) if part)


def _short(at: str) -> str:
    return at[:_SECONDS].replace("T", " ")


def _cell(text: object) -> Text:
    return Text(one_line(str(text)), overflow="fold")


def _table(*headers: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    return table


def _print(table: Table) -> None:
    """Print a table; a program gets each row in one line, as wide as it is."""
    console = _CONSOLE
    if not console.is_terminal:
        console = Console(highlight=False, emoji=False, width=_NO_LIMIT)
    console.print(table)
