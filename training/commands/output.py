"""Print the results of commands on standard output, as lines and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from rich import box
from rich.console import Console
from rich.table import Column, Table

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
_UNLIMITED: Final = 10_000
"""Columns; more than any table has."""


def say(line: str) -> None:
    """Print a line of result."""
    OUT.print(line, soft_wrap=True, highlight=False, markup=False)


def plain(value: object) -> str:
    """Text in which Rich sees no markup."""
    return str(value).replace("[", "\\[")


def print_rows(
    header: Sequence[str], rows: Sequence[Sequence[str]], total: Sequence[str] | None = None
) -> None:
    """Print a table of plain text that fits the terminal; markup in it has no effect.

    No cell is cut or broken. If the columns do not fit side by side, a header takes one line for
    each word, then the lines between the columns go; if that does not help, each row is printed as
    lines of header and cell.

    Args:
        header: one entry for each column.
        rows: one entry for each column.
        total: a last row, below a line.
    """
    below = [] if total is None else [total]
    words = [re.sub(r" (?![%/])", "\n", entry) for entry in header]  # `95 %` is one word
    for shown, form, padding in (
        (header, box.HEAVY_HEAD, 1),
        (words, box.HEAVY_HEAD, 1),
        (words, box.SIMPLE_HEAD, 0),
    ):
        columns = (Column(plain(entry), no_wrap=True) for entry in shown)
        table = Table(*columns, box=form, padding=(0, padding))
        for row in [*rows, *below]:
            if row is total:
                table.add_section()
            table.add_row(*map(plain, row))
        if OUT.measure(table, options=OUT.options.update(width=_UNLIMITED)).maximum <= OUT.width:
            OUT.print(table)
            return
    for row in [*rows, *below]:
        lines = Table.grid(padding=(0, 2))
        for entry, cell in zip(header, row, strict=True):
            lines.add_row(plain(entry), plain(cell))
        OUT.print(lines, "")


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
    # There are more measures than a line of 80 columns has room for, so the splits are the columns.
    header, counts, *measures = zip(SPLIT_HEADER, *split_rows(metrics), strict=True)
    correct, folds = zip(*(_before_and_in_brackets(cell) for cell in counts), strict=True)
    rows = [correct, ("measured in", *folds[1:]), *measures]
    print_rows([entry.partition(":")[0] for entry in header], rows)
    cases = case_rows(metrics, labels)
    if cases:
        n_before = len(case_header(labels)) - len(labels)
        rows = [
            (*row[:n_before], *(_before_and_in_brackets(cell)[1] for cell in row[n_before:]))
            for row in cases
        ]
        print_rows(case_header(labels), rows)
    for note in notes:
        say(note)


def _before_and_in_brackets(cell: str) -> tuple[str, str]:
    """The two parts of `35 / 41 (5 folds)`."""
    before, _, inside = cell.partition(" (")
    return before, inside.removesuffix(")")


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
