"""An ablation's results as tables: Markdown for people, CSV with one row a run for programs."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence

from training.console.markdown import markdown_table
from training.experiments.ablation.run import AblationRecord

_COLUMNS = (
    "recipe",
    "split",
    "fold_seed",
    "seed",
    "n_tiles",
    "n_right",
    "log_loss",
)


def write_markdown(records: Sequence[AblationRecord]) -> str:
    """One row for each recipe: correct tiles by patient and by slide, mean and range over seeds."""
    cases = sorted({case for record in records for case in record.tiles_by_case})
    tiles = records[0].tiles_by_case
    fold_seeds = list(dict.fromkeys(r.fold_seed for r in records if r.split == "slide"))
    header = [
        "recipe",
        f"by patient, of {records[0].n_tiles}",
        *(f"{case}, of {tiles[case]}" for case in cases),
        *("by slide" if len(fold_seeds) == 1 else f"by slide, folds {seed}" for seed in fold_seeds),
        "log loss by slide",
    ]
    rows = []
    for name in dict.fromkeys(record.recipe for record in records):
        of_recipe = [record for record in records if record.recipe == name]
        patient = [record for record in of_recipe if record.split == "patient"]
        slide = [record for record in of_recipe if record.split == "slide"]
        rows.append(
            [
                name,
                _mean_and_range([record.n_right for record in patient]),
                *(_mean([record.right_by_case[case] for record in patient]) for case in cases),
                *(
                    _mean_and_range([r.n_right for r in slide if r.fold_seed == seed])
                    for seed in fold_seeds
                ),
                f"{sum(record.log_loss for record in slide) / len(slide):.2f}",
            ]
        )
    return markdown_table(header, rows) + "\n"


def write_csv(records: Iterable[AblationRecord]) -> str:
    """One row for each run, with the correct tiles of each case as `Case 3: 9/14`."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, "right_by_case"])
    for record in records:
        by_case = "; ".join(
            f"{case}: {right}/{record.tiles_by_case[case]}"
            for case, right in record.right_by_case.items()
        )
        writer.writerow([*(getattr(record, name) for name in _COLUMNS), by_case])
    return stream.getvalue()


def _mean(values: Sequence[int]) -> str:
    return f"{sum(values) / len(values):.1f}"


def _mean_and_range(values: Sequence[int]) -> str:
    low, high = min(values), max(values)
    return f"{_mean(values)} ({low})" if low == high else f"{_mean(values)} ({low} to {high})"
