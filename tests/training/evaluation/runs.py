"""Cross-validations for tests."""

from __future__ import annotations

from app.core.manifest import SplitKind
from training.config import TrainingConfig
from training.data.labels import LABEL_IDS
from training.runs.records import Answer, CrossValidation

RECORDS = tuple(
    {
        "phase": phase,
        "epoch": epoch,
        "loss": 1.0 / epoch,
        "accuracy": 0.5,
        "test_loss": 1.0,
        "test_accuracy": 0.4,
    }
    for phase, epoch in (("head", 1), ("head", 2), ("fine_tune", 1))
)


def run_of(pairs: list[tuple[int, int]], kind: SplitKind = "slide") -> CrossValidation:
    """A run of one fold, with one answer per (true, predicted) pair and two tiles per slide."""
    answers = tuple(
        Answer(
            tile=f"t{i}",
            slide=f"s{i // 2}",
            fold="fold 1",
            label=LABEL_IDS[true],
            logits=tuple(2.0 if c == predicted else 0.0 for c in range(3)),
        )
        for i, (true, predicted) in enumerate(pairs)
    )
    return CrossValidation(
        kind=kind,
        split_sha256="0" * 64,
        index_sha256="1" * 64,
        config=TrainingConfig(model_name="m"),
        answers=answers,
        history={"fold 1": RECORDS},
    )
