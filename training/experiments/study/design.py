"""The runs of a study: what each one is, and the key that names its result.

A key is the SHA-256 of everything that determines the result and of nothing else, so a run that
two parts of the study share is done once, and a run that changes in any way is done again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from app.core.manifest import SplitKind
from training.augmentation.views import AugmentConfig
from training.experiments.study.config import RowConfig, StudyConfig, ViewMode
from training.storage.frozen_model import FrozenModel

Part = Literal["figure 3", "table 1", "comparison", "levels"]

_ALGORITHM: Final = 1
"""Version of fitting and views: raise it when the same settings would give other results."""
_PLAIN: Final = RowConfig(name="none")
"""The row without augmentation."""
_RESPLIT: Final = 1000
"""Distance between the split seeds of two studies whose seeds are neighbours."""


class NetworkSpec(FrozenModel):
    """A frozen backbone: name, identity of its weights, side of its input in pixels."""

    system: str
    weights: str
    side_px: int


class ViewsSpec(FrozenModel):
    """Transformed views: how one is drawn, how many are cached, how many each epoch uses."""

    augment: AugmentConfig
    mode: ViewMode
    n_views: int
    per_epoch: int
    seed: int


class SplitSpec(FrozenModel):
    """One fold of a split of the index."""

    kind: SplitKind
    n_folds: int
    seed: int
    fold: int = 0


class RunSpec(FrozenModel):
    """Everything that determines one run."""

    algorithm: int = _ALGORITHM
    index_sha256: str
    network: NetworkSpec
    views: ViewsSpec | None
    split: SplitSpec
    hidden_units: int
    batch_size: int
    learning_rate: float
    epochs: int
    seed: tuple[int, ...]

    @property
    def key(self) -> str:
        """SHA-256 of this specification, hexadecimal."""
        return _digest(self.model_dump())

    @property
    def trajectory(self) -> str:
        """Equal for two runs if one is the beginning of the other."""
        return _digest(self.model_dump(exclude={"epochs"}))


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run with its part of the study, the row of its table, and its number there."""

    part: Part
    row: str
    system: str
    number: int
    spec: RunSpec


class Design:
    """The runs of a study on one index with certain weights."""

    def __init__(self, config: StudyConfig, index_sha256: str, weights: dict[str, str]) -> None:
        """Store what every run depends on.

        Args:
            config: the study.
            index_sha256: SHA-256 of the index file.
            weights: identity of the weights of each system that is run, by the system's name.
        """
        self._config = config
        self._index_sha256 = index_sha256
        self._weights = weights

    def figure_3(self) -> list[PlannedRun]:
        """Several runs of every system, rate and number of epochs."""
        config, grid = self._config, self._config.grid
        return [
            PlannedRun(
                part="figure 3",
                row="none",
                system=name,
                number=run + 1,
                spec=self._spec(
                    name,
                    views=None,
                    split=self._paper_split(run),
                    learning_rate=rate,
                    epochs=epochs,
                    seed=(config.seed, run) if grid.share_prefix else (config.seed, run, epochs),
                ),
            )
            for name in self._running(grid.systems)
            for rate in grid.learning_rates
            for epochs in grid.epochs
            for run in range(grid.runs)
        ]

    def table_1(self) -> list[PlannedRun]:
        """Several runs of every system and augmentation."""
        table = self._config.table
        return [
            PlannedRun(
                part="table 1",
                row=row.name,
                system=name,
                number=run + 1,
                spec=self._table_spec(name, row, self._paper_split(run), run),
            )
            for name in self._running(table.systems)
            for row in table.rows
            for run in range(table.runs)
        ]

    def comparison(self, n_cases: int) -> list[PlannedRun]:
        """Every fold of every kind of split, for each system without augmentation.

        Args:
            n_cases: number of cases in the index; each is left out in turn.
        """
        names = self._running(self._config.levels.systems)
        return self._by_split_kind("comparison", dict.fromkeys(names, _PLAIN), n_cases)

    def by_split_kind(self, rows: dict[str, str], n_cases: int) -> list[PlannedRun]:
        """Every fold of every kind of split, for one row of Table 1 for each system.

        Args:
            rows: name of the row by name of the system.
            n_cases: number of cases in the index; each is left out in turn.
        """
        entries = {row.name: row for row in self._config.table.rows}
        chosen = {name: entries[row] for name, row in rows.items()}
        return self._by_split_kind("levels", chosen, n_cases)

    def _by_split_kind(
        self, part: Part, rows: dict[str, RowConfig], n_cases: int
    ) -> list[PlannedRun]:
        seed = self._config.seed
        return [
            PlannedRun(
                part=part,
                row=row.name,
                system=name,
                number=fold + 1,
                spec=self._table_spec(
                    name,
                    row,
                    SplitSpec(kind=kind, n_folds=n_folds, seed=seed, fold=fold),
                    fold,
                ),
            )
            for name, row in rows.items()
            for kind, n_folds in self._config.levels.n_folds(n_cases).items()
            for fold in range(n_folds)
        ]

    def _running(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name in self._config.running]

    def _table_spec(self, name: str, row: RowConfig, split: SplitSpec, number: int) -> RunSpec:
        config, table = self._config, self._config.table
        views = ViewsSpec(
            augment=row.augment,
            mode=table.mode,
            # The number of cached views does not affect online views.
            n_views=table.n_views if table.mode == "cached" else table.views_per_epoch,
            per_epoch=table.views_per_epoch,
            seed=config.seed,
        )
        return self._spec(
            name,
            views=views if row.is_augmented else None,
            split=split,
            learning_rate=table.learning_rate,
            epochs=table.epochs,
            seed=(config.seed, number, table.epochs),
        )

    def _spec(self, name: str, **settings: Any) -> RunSpec:
        config = self._config
        return RunSpec(
            index_sha256=self._index_sha256,
            network=NetworkSpec(
                system=name, weights=self._weights[name], side_px=config.systems[name].side_px
            ),
            hidden_units=config.head.hidden_units,
            batch_size=config.head.batch_size,
            **settings,
        )

    def _paper_split(self, run: int) -> SplitSpec:
        """The split of a run number, the same for all systems, rates and rows."""
        return SplitSpec(kind="random", n_folds=1, seed=self._config.seed * _RESPLIT + run)


def jobs_of(runs: Sequence[RunSpec]) -> Iterator[tuple[RunSpec, ...]]:
    """Group runs by fit: the runs of one trajectory, fewest epochs first, without repetition."""
    by_trajectory: dict[str, dict[str, RunSpec]] = {}
    for run in runs:
        by_trajectory.setdefault(run.trajectory, {})[run.key] = run
    for specs in by_trajectory.values():
        yield tuple(sorted(specs.values(), key=lambda spec: spec.epochs))


def _digest(value: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
