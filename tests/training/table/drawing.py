"""A drawn feature table: the collection's columns, with measures that depend on the label."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tests.training.conftest import RAW_BY_LABEL
from training.data.feature_columns import BOOKKEEPING_COLUMNS, FEATURE_COLUMNS, PREPARATION_COLUMN

HEADER = ("sr_no", "image.name", *BOOKKEEPING_COLUMNS[1:], *FEATURE_COLUMNS, "classification")
CASES = ("Case 3", "Case 4", "Case 48 - P5")
N_ROWS = 36
Rows = list[dict[str, str]]


def drawn_rows() -> Rows:
    """36 rows: 3 cases with 2 slides each, and 2 tiles of each label on a slide."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(RAW_BY_LABEL), len(FEATURE_COLUMNS)))
    rows: Rows = []
    for case in CASES:
        for place in range(12):
            label = place % 3
            corner = f"{1000 * place}-{5000 - 10 * place}"
            measures = centres[label] + rng.normal(scale=1.5, size=len(FEATURE_COLUMNS))
            numbers = {name: str(len(rows) + 1) for name in BOOKKEEPING_COLUMNS}
            values = {c: f"{v:.9f}" for c, v in zip(FEATURE_COLUMNS, measures, strict=True)}
            name = f"{case} A{1 + place // 6}-{corner}"
            raw_label = list(RAW_BY_LABEL.values())[label]
            rows.append(numbers | values | {"image.name": name, "classification": raw_label})
    return rows


def described(tiles: Sequence[tuple[str, str]]) -> Rows:
    """One row per tile (name, label id), with measures that depend on the label.

    Rows have the table's two preparations in turn (docs/texture.md), so with three labels on each
    slide, two slides have every label in both.
    """
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(len(RAW_BY_LABEL), len(FEATURE_COLUMNS)))
    rows: Rows = []
    for number, (name, label) in enumerate(tiles):
        centre = centres[list(RAW_BY_LABEL).index(label)]
        measures = centre + rng.normal(scale=1.5, size=len(FEATURE_COLUMNS))
        numbers = dict.fromkeys(BOOKKEEPING_COLUMNS, str(number + 1))
        values = {c: f"{v:.9f}" for c, v in zip(FEATURE_COLUMNS, measures, strict=True)}
        row = {PREPARATION_COLUMN: str(546 + number % 2), "image.name": name}
        rows.append(numbers | values | row | {"classification": RAW_BY_LABEL[label]})
    return rows


def write_rows(path: Path, rows: Rows, header: Sequence[str] = HEADER) -> Path:
    """Write a table; `header` may leave columns out."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, header, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_table(folder: Path, change: Callable[[Rows], object] = lambda _: None) -> Path:
    """Write the drawn table into a folder, after a change to its rows."""
    rows = drawn_rows()
    change(rows)
    return write_rows(folder / "ML_Features_drawn.csv", rows)


def write_config(path: Path, system: str = "texture-svm", mixed_tiles: str = "exclude") -> Path:
    """Write a configuration of a table system."""
    path.write_text(
        f'model_name = "drawn"\n[data]\nmixed_tiles = "{mixed_tiles}"\n'
        f'[network]\nsystem = "{system}"\n'
    )
    return path
