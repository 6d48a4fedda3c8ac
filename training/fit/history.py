"""Measurements of each epoch, and the progress of a phase."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

PhaseName = Literal["head", "fine_tune", "whole"]
"""`whole` is training from scratch, with no layer frozen."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """Measurements of one epoch; test values inform the reader and decide nothing."""

    phase: PhaseName
    epoch: int
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None


OnEpoch = Callable[[EpochRecord], None]
"""Is told of each finished epoch, also of those that a checkpoint restores."""


@dataclass(slots=True)
class PhaseProgress:
    """The finished epochs of a phase, and the state of the current one.

    Attributes:
        records: one for each finished epoch.
        pairs: int64 `[m, 2]`, tile and view, in the order in which the current epoch shows them;
            None between two epochs.
        losses: one for each step of the current epoch.
        hits: whether each view shown in the current epoch was classified correctly.
    """

    records: list[EpochRecord] = field(default_factory=list)
    pairs: NDArray[np.int64] | None = None
    losses: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    def remaining(self, batch_size: int) -> Iterator[NDArray[np.int64]]:
        """Batches of pairs that the current epoch has not shown yet."""
        if self.pairs is None:
            return
        for start in range(batch_size * len(self.losses), len(self.pairs), batch_size):
            yield self.pairs[start : start + batch_size]

    def add(self, loss: float, logits: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
        """Record a finished step."""
        self.losses.append(loss)
        self.hits += (np.argmax(logits, axis=1) == np.argmax(targets, axis=1)).tolist()

    def end_epoch(self, phase: PhaseName, tested: tuple[float | None, float | None]) -> EpochRecord:
        """Record a finished epoch; `tested` is loss and accuracy of the test tiles."""
        record = EpochRecord(
            phase,
            len(self.records) + 1,
            float(np.mean(self.losses)),
            float(np.mean(self.hits)),
            *tested,
        )
        self.records.append(record)
        self.pairs, self.losses, self.hits = None, [], []
        return record
