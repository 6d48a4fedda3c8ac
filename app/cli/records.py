"""Print outcomes for programs, as CSV and JSON in UTF-8, each as soon as its tile is classified."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from app.cli.files import FileOutcome
from app.cli.names import path_text


def print_csv(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> None:
    """Print one row per tile."""
    answer = ("path", "prediction", *label_ids, "tumor_probability")
    # New columns go last, because some programs address columns by number.
    later = ("prediction_set", "review", "review_priority")
    columns = (*answer, "tile_sha256", "bundle_sha256", "error", *later)
    _write_utf8()
    writer = csv.DictWriter(sys.stdout, columns, restval="", lineterminator="\n")
    writer.writeheader()
    for outcome in outcomes:
        writer.writerow(_csv_row(outcome))
        sys.stdout.flush()  # a run that is stopped leaves whole rows


def print_json(outcomes: Iterable[FileOutcome]) -> None:
    """Print one JSON array of the service's answers, each with the file's path."""
    _write_utf8()
    separator = "["
    try:
        for outcome in outcomes:
            document = json.dumps(_document(outcome), indent=2).replace("\n", "\n  ")
            sys.stdout.write(f"{separator}\n  {document}")
            separator = ","
    finally:  # a run that is stopped leaves valid JSON
        sys.stdout.write("[]\n" if separator == "[" else "\n]\n")


def _write_utf8() -> None:
    """JSON is UTF-8 (RFC 8259, 8.1), and CSV too can then hold any name, in any locale."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")


def _csv_row(outcome: FileOutcome) -> dict[str, Any]:
    path, result = path_text(outcome.path), outcome.result
    if result is None:
        return {"path": path, "error": outcome.error}
    return {
        "path": path,
        "prediction": result.prediction,
        **result.probabilities,
        "tumor_probability": result.tumor_probability,
        "prediction_set": " ".join(result.prediction_set.labels or []),
        "review": " ".join(result.review.reasons),
        "review_priority": result.review.priority,
        "tile_sha256": result.tile.sha256,
        "bundle_sha256": result.model.bundle_sha256,
    }


def _document(outcome: FileOutcome) -> dict[str, Any]:
    answer = {"error": outcome.error} if outcome.result is None else outcome.result.model_dump()
    return {"path": path_text(outcome.path), **answer}
