"""What a study will take, before it begins: runs, time, disk; and whether it can begin at all."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from app.runtime.cores import usable_cores
from training.errors import DataError, WeightsError
from training.experiments.study.design import NetworkSpec, RunSpec, ViewsSpec, jobs_of
from training.experiments.study.head import HeadSettings, fit_head
from training.experiments.study.journal import RunRecord
from training.experiments.study.study import Study, way_out
from training.features.store import require_space
from training.networks.registry import SYSTEMS

_CPU_SECONDS: Final = {
    "mobilenetv2": 0.009,
    "resnet50v2": 0.036,
    "xception": 0.049,
    "inceptionresnetv2": 0.065,
}
"""Of one core, for one view of 224 px through a base; measured on an AMD EPYC."""
_CPU_SECONDS_PER_PARAMETER: Final = 2e-9
"""Of a base that is not listed: a guess."""
_DRAWING_CPU_SECONDS: Final = 0.012
"""Of one core, to decode a tile of 1024 px and draw a view of it."""
_MEASURED_SIDE_PX: Final = 224
_RECORD_BYTES: Final = 4_000
_EPOCH_BYTES: Final = 40
_TESTED_TILE_BYTES: Final = 75
_TRIAL_TILES, _TRIAL_EPOCHS = 320, 4


@dataclass(frozen=True, slots=True)
class Needs:
    """What is still to do.

    Attributes:
        n_runs: known before the first run; runs that two parts share count once.
        n_done: of these.
        n_later: runs beyond the paper, which are chosen once Table 1 is done.
        n_fits: trainings for what is not done; fewer than runs where prefixes are shared.
        n_features: still to compute, by system.
        feature_s: seconds for them, roughly.
        fit_s: seconds for the trainings, after a trial on this machine.
        cache_bytes: of the features to compute.
        out_bytes: of the records to write.
    """

    n_runs: int
    n_done: int
    n_later: int
    n_fits: int
    n_features: dict[str, int]
    feature_s: float
    fit_s: float
    cache_bytes: int
    out_bytes: int


def assess(study: Study, find: Callable[[str], RunRecord | None]) -> Needs:
    """Count what is left.

    Args:
        study: what is planned.
        find: the record of a key, or None.
    """
    by_kind = study.split_kind_runs(find)
    specs = {run.spec.key: run.spec for run in study.figure_3 + study.table_1 + by_kind}
    todo = [spec for key, spec in specs.items() if find(key) is None]
    jobs = list(jobs_of(todo))
    missing = {
        network: study.source.missing(network, sets)
        for network, sets in _views_by_network(todo).items()
    }
    embedding_bytes = {network: 4 * SYSTEMS[network.system].embedding_size for network in missing}
    tested_bytes = _TESTED_TILE_BYTES * len(study.index.tiles) / 10
    return Needs(
        n_runs=len(specs),
        n_done=len(specs) - len(todo),
        n_later=0 if by_kind else _n_split_kind_runs(study),
        n_fits=len(jobs),
        n_features={network.system: n for network, n in missing.items() if n},
        feature_s=sum(n * _seconds_per_view(network) for network, n in missing.items()),
        fit_s=sum(cost_of(study, job[-1]) * _seconds_per_step(job[-1]) for job in jobs),
        cache_bytes=sum(n * (embedding_bytes[network] + 32) for network, n in missing.items()),
        out_bytes=int(sum(_RECORD_BYTES + s.epochs * _EPOCH_BYTES + tested_bytes for s in todo)),
    )


def require_ready(study: Study, needs: Needs) -> None:
    """Find what would end the study after hours: splits, disk, tiles, weights that do not fit.

    Raises:
        WeightsError: a base's weights cannot be fetched, or are another network's.
        DataError: a tile's file is missing.
        SplitError: a class, or a slide, is too small for a split.
        CacheError: the disk has no room.
    """
    study.require_splits()
    require_space(study.folders.cache_dir, needs.cache_bytes + needs.out_bytes, "The study")
    if not needs.n_features:
        return
    for tile in study.index.tiles:
        if not (study.folders.data_dir / tile.file).is_file():
            raise DataError(
                f"{study.folders.data_dir / tile.file} is missing. Give the --data-dir of which "
                "the index was made."
            )
    for name in needs.n_features:
        network = next(
            run.spec.network
            for run in study.figure_3 + study.table_1
            if run.spec.network.system == name
        )
        try:
            study.source.open_base(network)
        except WeightsError as error:
            raise WeightsError(f"{error} {way_out(name)}") from error


def cost_of(study: Study, spec: RunSpec) -> int:
    """Steps of Adam that a run takes; what the progress bar counts."""
    share = {"random": 0.9 if spec.split.n_folds == 1 else 1 - 1 / spec.split.n_folds}
    n_train = share.get(spec.split.kind, 1 - 1 / spec.split.n_folds) * len(study.index.tiles)
    n_views = 1 + (spec.views.per_epoch if spec.views else 0)
    return spec.epochs * math.ceil(n_train * n_views / spec.batch_size)


def _views_by_network(specs: list[RunSpec]) -> dict[NetworkSpec, list[ViewsSpec | None]]:
    found: dict[NetworkSpec, list[ViewsSpec | None]] = {}
    for spec in specs:
        sets = found.setdefault(spec.network, [])
        if spec.views not in sets:
            sets.append(spec.views)
    return found


def _n_split_kind_runs(study: Study) -> int:
    kinds = study.config.levels
    n_folds = {
        "random": kinds.random_folds,
        "slide": kinds.slide_folds,
        "patient": study.n_cases,
    }
    return len(study.config.table.systems) * sum(n_folds[kind] for kind in kinds.kinds)


def _seconds_per_view(network: NetworkSpec) -> float:
    guess = SYSTEMS[network.system].n_parameters * _CPU_SECONDS_PER_PARAMETER
    area = (network.side_px / _MEASURED_SIDE_PX) ** 2
    base_s = area * _CPU_SECONDS.get(network.system, guess)
    return (base_s + _DRAWING_CPU_SECONDS) / usable_cores()


def _seconds_per_step(spec: RunSpec) -> float:
    embedding_size = SYSTEMS[spec.network.system].embedding_size
    return _time_step(embedding_size, spec.hidden_units, spec.batch_size)


@lru_cache
def _time_step(embedding_size: int, hidden_units: int, batch_size: int) -> float:
    """A trial on numbers that mean nothing."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    features = rng.random((_TRIAL_TILES, 1, embedding_size), dtype=np.float32)
    tiles = np.arange(_TRIAL_TILES)
    settings = HeadSettings(1e-3, (_TRIAL_EPOCHS,), batch_size, hidden_units)
    with threadpool_limits(1, user_api="blas"):
        fitted = fit_head(features, tiles % 3, tiles, tiles[:32], settings)
    return fitted.seconds / (_TRIAL_EPOCHS * math.ceil(_TRIAL_TILES / batch_size))
