"""Print the results of commands on standard output, as lines and tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from app.core.manifest import Label, SplitMetrics
from app.core.provenance import DataSource
from training.data.index import Index
from training.data.labels import COLLECTION_LABELS
from training.evaluation.split_tables import (
    MIXED_POLICY,
    SLIDES_UNKNOWN,
    SPLIT_HEADER,
    case_header,
    case_rows,
    number,
    split_rows,
    unknown_places,
)
from training.runs.records import CrossValidation

OUT: Final = Console()


def say(line: str) -> None:
    """Print a line of result."""
    OUT.print(line, soft_wrap=True, highlight=False, markup=False)


def plain(value: object) -> str:
    """Text in which Rich sees no markup."""
    return str(value).replace("[", "\\[")


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table of plain text; markup in it has no effect."""
    table = Table(*header)
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    OUT.print(table)


def print_counts(index: Index) -> None:
    """Print the tiles of an index by case and label."""
    labels = sorted(index.label_set.ids)
    found = [(tile.case or "unknown", tile.label) for tile in index.tiles]
    cases = sorted({case for case, _ in found})
    rows = [[case, *(str(found.count((case, label))) for label in labels)] for case in cases]
    print_rows(["case", *labels], rows)


def print_metrics(metrics: SplitMetrics) -> None:
    """Print metrics by label, and a line for all labels together."""
    rows = [
        [c.label, str(c.support), *(number(value) for value in (c.precision, c.recall, c.f1))]
        for c in metrics.classes
    ]
    tumor = number(metrics.tumor_precision), number(metrics.tumor_recall)
    rows.append(["tumour or not", "", *tumor, ""])
    print_rows(["label", "tiles", "precision", "recall", "F1"], rows)
    say(
        f"accuracy {metrics.accuracy:.3f} ({metrics.accuracy_low:.3f} to "
        f"{metrics.accuracy_high:.3f}, slides resampled), ECE {metrics.ece:.3f}, "
        f"log loss {metrics.log_loss:.3f}"
    )


def print_split_kinds(
    metrics: Sequence[SplitMetrics], labels: Sequence[Label], notes: Sequence[str]
) -> None:
    """Print the kinds of split side by side, the left-out cases, and notes."""
    # A line of 80 columns has room for the first words of a title only.
    rows = [[title.partition(":")[0], *cells] for title, *cells in split_rows(metrics)]
    print_rows(SPLIT_HEADER, rows)
    cases = case_rows(metrics, labels)
    if cases:
        print_rows(case_header(labels), cases)
    say(" ".join(notes))


def notes_on(data: DataSource) -> list[str]:
    """What a reader of the numbers must know about the tiles."""
    resampled = "slides" if data.n_slides is not None else "tiles"
    notes = [f"Intervals resample {resampled}."]
    if data.mixed_tiles is not None:
        notes.append(f"Mixed tiles: {MIXED_POLICY[data.mixed_tiles]}.")
    return [*notes, *unknown_places(data)]


def notes_on_run(run: CrossValidation) -> list[str]:
    """As `notes_on`, for a run."""
    if not run.knows_slides:
        return ["Intervals resample tiles.", SLIDES_UNKNOWN]
    notes = ["Intervals resample slides."]
    if run.config.labels == COLLECTION_LABELS:
        notes.append(f"Mixed tiles: {MIXED_POLICY[run.config.data.mixed_tiles]}.")
    return notes
