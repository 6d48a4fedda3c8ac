"""How many wrong answers the tiles of the highest `review.priority` hold, out of fold.

.venv/bin/python -m benchmarks.review_order TEMPERATURE RUN [RUN ...]

A run is a folder that `osteo-train fit --split` wrote; the temperature is the bundle's.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from app.core.calibration import probabilities_from_logits
from app.core.review import review_priority
from training.console.markdown import markdown_table
from training.evaluation.predictions import predictions_of
from training.runs.records import read_cross_validation


def main(temperature: float, folders: list[str]) -> None:
    """Print the wrong answers among the quarter most in need, and what a random order finds."""
    header = ["split", "tiles", "wrong", "quarter", "wrong in it", "by chance"]
    rows = [_row(temperature, Path(folder)) for folder in folders]
    sys.stdout.write(markdown_table(header, rows) + "\n")


def _row(temperature: float, folder: Path) -> list[str]:
    run = read_cross_validation(folder)
    predictions = predictions_of(run)
    truth = predictions.truth
    probabilities = probabilities_from_logits(predictions.logits, temperature).astype(np.float32)
    is_wrong = predictions.predicted != truth
    # Without the reasons of the input gate: what is measured is the order by uncertainty.
    priority = np.array([review_priority(row, ()) for row in probabilities])
    n_quarter = -(-len(truth) // 4)
    first = np.argsort(-priority, kind="stable")[:n_quarter]
    by_chance = is_wrong.mean() * n_quarter
    counts = (len(truth), is_wrong.sum(), n_quarter, is_wrong[first].sum())
    return [run.kind, *map(str, counts), f"{by_chance:.1f}"]


if __name__ == "__main__":
    main(float(sys.argv[1]), sys.argv[2:])
