"""What training measures epoch by epoch, and where within its epochs a phase stands."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

PhaseName = Literal["head", "fine_tune", "whole"]
"""`whole` is training from scratch, where nothing is frozen."""


@dataclass(frozen=True, slots=True)
class EpochRecord:
    """What one epoch measured; test values are for the reader and decide nothing."""

    phase: PhaseName
    epoch: int
    loss: float
    accuracy: float
    test_loss: float | None
    test_accuracy: float | None

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def mean_record(records: Sequence[EpochRecord]) -> EpochRecord:
    """Of the same epoch of several heads."""
    names = ("loss", "accuracy", "test_loss", "test_accuracy")
    columns = {name: [getattr(record, name) for record in records] for name in names}
    means = {n: None if None in values else float(np.mean(values)) for n, values in columns.items()}
    return replace(records[0], **means)  # type: ignore[arg-type]  # a float or None, as declared


@dataclass(slots=True)
class Course:
    """Where a phase stands: its finished epochs, and how far the one under way has come.

    Attributes:
        records: one a finished epoch.
        pairs: int64 `[m, 2]`, tile and view: what the epoch under way goes through, in its order;
            None between two epochs.
        losses: of its steps so far.
        hits: of its views so far: whether the answer was the label.
    """

    records: list[EpochRecord] = field(default_factory=list)
    pairs: NDArray[np.int64] | None = None
    losses: list[float] = field(default_factory=list)
    hits: list[bool] = field(default_factory=list)

    def remaining(self, batch_size: int) -> Iterator[NDArray[np.int64]]:
        """Batches of pairs that the epoch under way has not shown yet."""
        if self.pairs is None:
            return
        for start in range(batch_size * len(self.losses), len(self.pairs), batch_size):
            yield self.pairs[start : start + batch_size]

    def add(self, loss: float, logits: NDArray[np.float32], targets: NDArray[np.float32]) -> None:
        """A step is done."""
        self.losses.append(loss)
        self.hits += (np.argmax(logits, axis=1) == np.argmax(targets, axis=1)).tolist()

    def end_epoch(self, phase: PhaseName, tested: tuple[float | None, float | None]) -> EpochRecord:
        """All batches are shown; `tested` is loss and accuracy of the test tiles."""
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
