"""Engines that fit the heads of a study: this process, or the machines of a Ray cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from training.experiments.study.design import RunSpec
from training.experiments.study.head import (
    Features,
    FreshViews,
    HeadFit,
    HeadSettings,
    Positions,
    fit_head,
)


@dataclass(frozen=True, slots=True)
class HeadTask:
    """One fit: the runs whose results it gives, and all it needs.

    Attributes:
        specs: runs of one trajectory, fewest epochs first.
        features: float32 `[n, 1 + v, E]`, the same object for many tasks.
        class_indices: int64 `[n]`.
        train, test: positions of the tiles.
        n_classes: number of labels.
        fresh_views: draws new views in every epoch, which only this process can.
    """

    specs: tuple[RunSpec, ...]
    features: Features
    class_indices: Positions
    train: Positions
    test: Positions
    n_classes: int
    fresh_views: FreshViews | None = None

    @property
    def settings(self) -> HeadSettings:
        """The settings for `fit_head`."""
        spec = self.specs[-1]
        return HeadSettings(
            learning_rate=spec.learning_rate,
            epochs=tuple(entry.epochs for entry in self.specs),
            batch_size=spec.batch_size,
            hidden_units=spec.hidden_units,
            n_views=spec.views.per_epoch if spec.views else 0,
            seed=spec.seed,
            n_classes=self.n_classes,
        )


class Engine(Protocol):
    """Fits tasks in any order, and takes them from the iterator as it needs them."""

    def run(self, tasks: Iterable[HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
        """Fit every task, and yield it with its result."""
        ...


class SerialEngine:
    """Fits one task after the other in this process."""

    def run(self, tasks: Iterable[HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
        """Fit every task, and yield it with its result."""
        # The matrices are small: two threads would wait more than they compute.
        from threadpoolctl import threadpool_limits

        for task in tasks:
            with threadpool_limits(1, user_api="blas"):
                fitted = fit_head(
                    task.features,
                    task.class_indices,
                    task.train,
                    task.test,
                    task.settings,
                    task.fresh_views,
                )
            yield task, fitted
