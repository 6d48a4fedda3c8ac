"""Print what became of files, for people (table) and for programs (CSV, JSON)."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Literal

from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table
from rich.text import Text

from app.cli.files import FileOutcome
from app.inference.results import RESEARCH_USE

Format = Literal["table", "json", "csv"]
Printer = Callable[[Iterable[FileOutcome], Sequence[str]], int]
"""Prints outcomes, given the label ids; returns how many files failed."""


def print_table(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> int:
    """Print one row a tile, for people."""
    table = Table(
        Column("tile", overflow="fold"), "prediction", *label_ids, "review", caption=RESEARCH_USE
    )
    n_failed = 0
    for outcome in outcomes:
        if outcome.result is None:
            n_failed += 1
            table.add_row(escape(str(outcome.path)), Text(str(outcome.error), style="red"))
        else:
            values = (f"{outcome.result.probabilities[label]:.3f}" for label in label_ids)
            # A line each, so that the path need not give way.
            review = Text("\n".join(outcome.result.review.reasons), style="yellow")
            table.add_row(escape(str(outcome.path)), outcome.result.prediction, *values, review)
    Console(highlight=False).print(table)
    return n_failed


def print_csv(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> int:
    """Print one line a tile, as soon as it is known."""
    answer = ("path", "prediction", *label_ids, "tumor_probability")
    # New columns come last: there are programs that count columns.
    columns = (*answer, "tile_sha256", "bundle_sha256", "error", "prediction_set", "review")
    writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
    writer.writeheader()
    n_failed = 0
    for outcome in outcomes:
        result = outcome.result
        if result is None:
            n_failed += 1
            writer.writerow({"path": outcome.path, "error": outcome.error})
            continue
        writer.writerow(
            {
                "path": outcome.path,
                "prediction": result.prediction,
                **result.probabilities,
                "tumor_probability": result.tumor_probability,
                "prediction_set": " ".join(result.prediction_set.labels or []),
                "review": " ".join(result.review.reasons),
                "tile_sha256": result.tile.sha256,
                "bundle_sha256": result.model.bundle_sha256,
            }
        )
    return n_failed


def print_json(outcomes: Iterable[FileOutcome], _label_ids: Sequence[str]) -> int:
    """Print one JSON array of the service's answers, each with its path."""
    documents: list[dict[str, Any]] = []
    n_failed = 0
    for outcome in outcomes:
        if outcome.result is None:
            n_failed += 1
            documents.append({"path": str(outcome.path), "error": outcome.error})
        else:
            documents.append({"path": str(outcome.path), **outcome.result.model_dump()})
    sys.stdout.write(json.dumps(documents, indent=2) + "\n")
    return n_failed


PRINTERS: Final[Mapping[Format, Printer]] = {
    "table": print_table,
    "json": print_json,
    "csv": print_csv,
}
