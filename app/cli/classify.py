"""`osteo classify`: classify files and folders without a server."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import typer

from app.cli.arguments import counted_files, named_paths, search_named
from app.cli.endings import EXIT_FAILED, EXIT_INTERRUPTED, fail, plain_errors
from app.cli.files import FileOutcome, answer_files
from app.cli.names import path_text
from app.cli.paths import common_folder, name_below
from app.cli.progress import is_terminal, tracked
from app.cli.records import print_csv, print_json
from app.cli.search import Found
from app.cli.table import TablePrinter
from app.inference.classifier import Classifier
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.telemetry.metrics import Metrics

Format = Literal["table", "json", "csv"]
Sort = Literal["path", "review"]


def classify(
    paths: Annotated[list[str], typer.Argument(help="Tiles, and folders to search for tiles.")],
    output_format: Annotated[
        Format, typer.Option("--format", "-f", help="Output format.")
    ] = "table",
    sort: Annotated[
        Sort, typer.Option(help="By path within a folder, or tiles to look at first.")
    ] = "path",
) -> None:
    """Classify tiles without a server, with the same code and the same answers.

    Folders are searched for JPEG, PNG, TIFF and WebP files, with all folders
    in them or linked from them. What cannot be read is a row with its error;
    what is skipped is named.

    A folder:                 osteo classify slides/case-4
    Tiles to look at first:   osteo classify slides/case-4 --sort review
    For a spreadsheet:        osteo classify case-4 case-5 -f csv > cases.csv

    Exit code 0: all tiles were classified. 1: some were not, or the output
    could not be written. 2: there was nothing to try. 130: Ctrl-C.
    """
    tally = _Tally()
    with plain_errors():
        named = named_paths(paths)
        search = search_named(named)
        classifier = open_classifier(read_settings(), Metrics())
        # Rows on a terminal show the progress themselves.
        is_silent = sort == "path" and is_terminal()
    try:
        with (
            closing(classifier),
            closing(answer_files(classifier, search.found, classifier.classify)) as outcomes,
            tracked(outcomes, len(search.found), "Classifying", is_silent) as followed,
        ):
            counted = tally.count(followed)
            ordered = counted if sort == "path" else sorted(counted, key=review_order)
            _print_outcomes(output_format, ordered, classifier, named, search.found)
    except KeyboardInterrupt:
        fail(f"Interrupted after {counted_files(tally.n_done, search)}.", EXIT_INTERRUPTED)
    if tally.n_failed:
        fail(f"{counted_files(tally.n_failed, search)} could not be classified.", EXIT_FAILED)


def review_order(outcome: FileOutcome) -> float:
    """Sorts by `review.priority`, the most urgent tile first.

    Files without an answer come last, because there is nothing to compare; their order and that of
    equals stays.
    """
    return math.inf if outcome.result is None else -outcome.result.review.priority


@dataclass(slots=True)
class _Tally:
    n_done: int = 0
    n_failed: int = 0

    def count(self, outcomes: Iterable[FileOutcome]) -> Iterator[FileOutcome]:
        for outcome in outcomes:
            self.n_done += 1
            self.n_failed += outcome.result is None
            yield outcome


def _print_outcomes(
    output_format: Format,
    outcomes: Iterable[FileOutcome],
    classifier: Classifier,
    named: Sequence[Path],
    found: Sequence[Found],
) -> None:
    labels = classifier.bundle.manifest.labels
    if output_format == "csv":
        print_csv(outcomes, [label.id for label in labels])
    elif output_format == "json":
        print_json(outcomes)
    else:
        folder = common_folder(named)
        table = TablePrinter(labels, (path_text(name_below(folder, file.path)) for file in found))
        table.print_rows(
            (path_text(name_below(folder, outcome.path)), outcome) for outcome in outcomes
        )
        table.print_summary(classifier.identity)
