"""Outcomes for programs, as CSV and JSON in UTF-8, each as soon as its tile is classified."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from typing import Any, TextIO

from app.cli.files import FileOutcome
from app.cli.names import path_text


class CsvWriter:
    """Writes one row per tile, each at once: a run that is stopped leaves whole rows."""

    def __init__(self, stream: TextIO, label_ids: Sequence[str]) -> None:
        """Write the header."""
        answer = ("path", "prediction", *label_ids, "tumor_probability")
        # New columns go last, because some programs address columns by number.
        later = ("prediction_set", "review", "review_priority")
        columns = (*answer, "tile_sha256", "bundle_sha256", "error", *later)
        self._stream = stream
        self._writer = csv.DictWriter(stream, columns, restval="", lineterminator="\n")
        self._writer.writeheader()

    def write(self, outcome: FileOutcome) -> None:
        """Write the row of a tile."""
        self._writer.writerow(_csv_row(outcome))
        self._stream.flush()


class JsonWriter:
    """Writes one JSON array of the service's answers, each with the file's path."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._separator = "["

    def write(self, outcome: FileOutcome) -> None:
        """Write the answer for a tile."""
        document = json.dumps(_document(outcome), indent=2).replace("\n", "\n  ")
        self._stream.write(f"{self._separator}\n  {document}")
        self._separator = ","

    def close(self) -> None:
        """End the array; a run that is stopped then leaves valid JSON. The stream stays open."""
        self._stream.write("[]\n" if self._separator == "[" else "\n]\n")


def print_csv(outcomes: Iterable[FileOutcome], label_ids: Sequence[str]) -> None:
    """Print one row per tile."""
    _write_utf8()
    writer = CsvWriter(sys.stdout, label_ids)
    for outcome in outcomes:
        writer.write(outcome)


def print_json(outcomes: Iterable[FileOutcome]) -> None:
    """Print one JSON array; see `JsonWriter`."""
    _write_utf8()
    with closing(JsonWriter(sys.stdout)) as writer:
        for outcome in outcomes:
            writer.write(outcome)


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
