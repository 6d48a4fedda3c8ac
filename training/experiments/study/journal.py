"""The record of a finished run of a study, and the journal of all records."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

from training.console.progress import ERRORS
from training.experiments.study.design import RunSpec
from training.storage.journal import Journal, JournalRecord, read_records

JOURNAL_NAME: Final = "journal.jsonl"

Counts = tuple[tuple[int, ...], ...]


class FinishedRun(JournalRecord):
    """A finished run.

    Attributes:
        key: SHA-256 of `spec`.
        spec: what was run.
        n_train, n_test: tiles, not views.
        loss, accuracy: by epoch, measured on the training views during the epoch.
        test_loss, test_accuracy: measured on the test tiles after each epoch.
        confusion: after the last epoch; rows are true classes, columns predicted ones.
        best_epoch: the first epoch with the highest test accuracy.
        best_confusion: the confusion matrix after that epoch.
        test, logits: names of the test tiles and their logits after the last epoch.
        seconds: duration of the fit; runs that share a fit have the same value.
    """

    spec: RunSpec
    n_train: int
    n_test: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    confusion: Counts
    best_epoch: int
    best_confusion: Counts
    test: tuple[str, ...]
    logits: tuple[tuple[float, ...], ...]
    seconds: float

    @property
    def last_accuracy(self) -> float:
        """Accuracy after the last epoch, so nothing is chosen on the test tiles."""
        return self.test_accuracy[-1]

    @property
    def best_accuracy(self) -> float:
        """Accuracy after the best epoch, optimistic because it is chosen on the test tiles."""
        return self.test_accuracy[self.best_epoch - 1]


def open_journal(folder: Path) -> Journal[FinishedRun]:
    """Open the journal of a study's folder for appending.

    Raises:
        RunError: another process runs a study there, or the folder is not writable.
    """
    return Journal(folder / JOURNAL_NAME, FinishedRun, _warn)


def read_journal(folder: Path) -> dict[str, FinishedRun]:
    """All finished runs of a study's folder by key, also while a study appends to them."""
    return read_records(folder / JOURNAL_NAME, FinishedRun, _warn)


_warn = partial(ERRORS.print, soft_wrap=True)
