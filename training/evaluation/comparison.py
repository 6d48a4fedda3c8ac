"""Cross-validations side by side: results, differing settings, whether they are comparable."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from training.errors import RunError
from training.evaluation.metrics import evaluate
from training.evaluation.split_tables import interval, n_correct, number, percent
from training.runs.records import CrossValidation

COMPARISON_HEADER: Final = (
    *("run", "split", "folds", "correct / tiles", "accuracy", "95 % interval", "macro F1"),
    "log loss",
)
Runs = Mapping[str, CrossValidation]
"""Cross-validations by the name to show."""


def comparison_rows(runs: Runs) -> list[list[str]]:
    """One row for each run, under `COMPARISON_HEADER`; log loss is before temperature scaling."""
    rows = []
    for name, run in runs.items():
        metrics = evaluate(run)
        rows.append(
            [
                name,
                run.kind,
                str(metrics.n_folds),
                f"{n_correct(metrics)} / {metrics.n_tiles}",
                percent(metrics.accuracy),
                interval(metrics.accuracy_low, metrics.accuracy_high),
                number(metrics.macro_f1),
                number(metrics.log_loss),
            ]
        )
    return rows


def incomparable(runs: Runs) -> list[str]:
    """Why the numbers of these runs cannot be compared; one sentence for each reason."""
    kinds = sorted({run.kind for run in runs.values()})
    reasons = []
    if len({run.index_sha256 for run in runs.values()}) > 1:
        reasons.append("The runs have different tiles (indexes), so their numbers say little.")
    if len(kinds) > 1:
        reasons.append(
            f"The runs have different kinds of split ({', '.join(kinds)}), which decide the result "
            "more than settings do. Compare runs over one split."
        )
    elif len({run.split_sha256 for run in runs.values()}) > 1:
        reasons.append(
            f"The runs have different folds by {kinds[0]}, so a part of the difference is chance."
        )
    return reasons


def differing_settings(runs: Runs) -> list[list[str]]:
    """One row for each setting that differs: its key, then its value in each run."""
    flat = [dict(flatten(run.config.model_dump(mode="json"))) for run in runs.values()]
    return [
        [key, *(str(settings[key]) for settings in flat)]
        for key in flat[0]
        if len({str(settings[key]) for settings in flat}) > 1
    ]


def flatten(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys as in an error message, such as `head.epochs`, and their values."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def names_of(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of some paths that tell them apart.

    Raises:
        RunError: a folder is named twice.
    """
    parts = [folder.absolute().parts for folder in folders]
    for n in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-n:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    raise RunError("A run is named more than once.")
