"""Print the outcomes of files: as a table for people, as CSV and JSON for programs."""

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
Printer = Callable[[Iterable[FileOutcome], Sequence[str]], None]
"""Prints outcomes, given the label ids."""


def print_table(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> None:
    """Print one row per tile, once all are classified."""
    table = Table(
        Column("tile", overflow="fold"), "prediction", *label_ids, "review", caption=RESEARCH_USE
    )
    for outcome in outcomes:
        if outcome.result is None:
            table.add_row(escape(str(outcome.path)), Text(str(outcome.error), style="red"))
        else:
            values = (f"{outcome.result.probabilities[label]:.3f}" for label in label_ids)
            # One reason per line leaves more room for the path.
            review = Text("\n".join(outcome.result.review.reasons), style="yellow")
            table.add_row(escape(str(outcome.path)), outcome.result.prediction, *values, review)
    Console(highlight=False).print(table)


def print_csv(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> None:
    """Print one line per tile, as soon as it is classified."""
    answer = ("path", "prediction", *label_ids, "tumor_probability")
    # New columns go last, because some programs address columns by number.
    later = ("prediction_set", "review", "review_priority")
    columns = (*answer, "tile_sha256", "bundle_sha256", "error", *later)
    writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        result = outcome.result
        if result is None:
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
                "review_priority": result.review.priority,
                "tile_sha256": result.tile.sha256,
                "bundle_sha256": result.model.bundle_sha256,
            }
        )


def print_json(outcomes: Iterable[FileOutcome], _label_ids: Sequence[str]) -> None:
    """Print one JSON array of the service's answers, each with the file's path."""
    documents: list[dict[str, Any]] = []
    for outcome in outcomes:
        if outcome.result is None:
            documents.append({"path": str(outcome.path), "error": outcome.error})
        else:
            documents.append({"path": str(outcome.path), **outcome.result.model_dump()})
    sys.stdout.write(json.dumps(documents, indent=2) + "\n")


PRINTERS: Final[Mapping[Format, Printer]] = {
    "table": print_table,
    "json": print_json,
    "csv": print_csv,
}
