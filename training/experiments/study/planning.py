"""Before a study starts: count its runs, estimate time and disk, and check that it can run."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from app.runtime.cores import usable_cores
from training.errors import CacheError, DataError, WeightsError
from training.experiments.study.design import NetworkSpec, RunSpec, ViewsSpec, jobs_of
from training.experiments.study.head import HeadSettings, fit_head
from training.experiments.study.journal import FinishedRun
from training.experiments.study.study import Study, missing_weights_advice
from training.networks.registry import SYSTEMS
from training.storage.disk import require_room

_CPU_SECONDS: Final = {
    "mobilenetv2": 0.009,
    "resnet50v2": 0.036,
    "xception": 0.049,
    "inceptionresnetv2": 0.065,
    "vgg16": 0.1,
}
"""Core seconds for one view of 224 px through a backbone, measured on an AMD EPYC."""
_CPU_SECONDS_PER_PARAMETER: Final = 2e-9
"""A guess for a backbone that is not listed."""
_DRAWING_CPU_SECONDS: Final = 0.012
"""Core seconds to decode a tile of 1024 px and draw a view of it."""
_MEASURED_SIDE_PX: Final = 224
_RECORD_BYTES: Final = 4_000
_EPOCH_BYTES: Final = 40
_TESTED_TILE_BYTES: Final = 75
_TRIAL_TILES, _TRIAL_EPOCHS = 320, 4


@dataclass(frozen=True, slots=True)
class Needs:
    """The work that a study still has to do.

    Attributes:
        n_runs: runs known now; a run that two parts share counts once.
        n_done: finished runs among them.
        n_later: runs beyond the paper that are chosen when Table 1 is finished.
        n_fits: fits still to do; fewer than runs if runs share prefixes.
        n_features: features still to compute, by system.
        feature_s: rough estimate of the seconds for them.
        fit_s: seconds for the fits, estimated by a trial on this machine.
        cache_bytes: size of the features to compute.
        out_bytes: size of the records to write.
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


def assess(study: Study, find: Callable[[str], FinishedRun | None]) -> Needs:
    """Count what a study still has to do; `find` returns the record of a key, or None."""
    beyond = study.by_split_kind(find)
    specs = {run.spec.key: run.spec for run in study.known_runs + beyond}
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
        n_later=0 if beyond else _n_beyond(study),
        n_fits=len(jobs),
        n_features={network.system: n for network, n in missing.items() if n},
        feature_s=sum(n * _seconds_per_view(network) for network, n in missing.items()),
        fit_s=sum(cost_of(study, job[-1]) * _seconds_per_step(job[-1]) for job in jobs),
        cache_bytes=sum(n * (embedding_bytes[network] + 32) for network, n in missing.items()),
        out_bytes=int(sum(_RECORD_BYTES + s.epochs * _EPOCH_BYTES + tested_bytes for s in todo)),
    )


def require_ready(study: Study, needs: Needs) -> None:
    """Fail now for reasons that would end the study after hours: splits, disk, tiles, weights.

    Raises:
        WeightsError: a backbone's weights cannot be downloaded, or belong to another network.
        DataError: a tile's file is missing.
        SplitError: a label has too few tiles, or there are too few slides, for a split.
        CacheError: the disk has no room.
    """
    study.require_splits()
    n_bytes = needs.cache_bytes + needs.out_bytes
    require_room(study.folders.cache_dir, n_bytes, "The study", CacheError, "--cache-dir")
    if not needs.n_features:
        return
    for tile in study.index.tiles:
        if not (study.folders.data_dir / tile.file).is_file():
            raise DataError(
                f"{study.folders.data_dir / tile.file} is missing. Give the --data-dir from which "
                "the index was made."
            )
    for name in needs.n_features:
        network = next(
            run.spec.network for run in study.known_runs if run.spec.network.system == name
        )
        try:
            study.source.open_backbone(network)
        except WeightsError as error:
            raise WeightsError(f"{error} {missing_weights_advice(name)}") from error


def cost_of(study: Study, spec: RunSpec) -> int:
    """Steps of Adam in a run, which the progress bar counts."""
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


def _n_beyond(study: Study) -> int:
    """Runs beyond the paper that Table 1 will choose: as many for each of its systems."""
    rows = {run.system: run.row for run in study.table_1}
    return len(study.with_several_labels(study.design.by_split_kind(rows, study.n_cases)))


def _seconds_per_view(network: NetworkSpec) -> float:
    guess = SYSTEMS[network.system].n_parameters * _CPU_SECONDS_PER_PARAMETER
    area = (network.side_px / _MEASURED_SIDE_PX) ** 2
    backbone_s = area * _CPU_SECONDS.get(network.system, guess)
    return (backbone_s + _DRAWING_CPU_SECONDS) / usable_cores()


def _seconds_per_step(spec: RunSpec) -> float:
    embedding_size = SYSTEMS[spec.network.system].embedding_size
    return _time_step(embedding_size, spec.hidden_units, spec.batch_size)


@lru_cache
def _time_step(embedding_size: int, hidden_units: int, batch_size: int) -> float:
    """Time a step on random numbers."""
    from threadpoolctl import threadpool_limits

    rng = np.random.default_rng(0)
    features = rng.random((_TRIAL_TILES, 1, embedding_size), dtype=np.float32)
    tiles = np.arange(_TRIAL_TILES)
    settings = HeadSettings(1e-3, (_TRIAL_EPOCHS,), batch_size, hidden_units)
    with threadpool_limits(1, user_api="blas"):
        fitted = fit_head(features, tiles % 3, tiles, tiles[:32], settings)
    return fitted.seconds / (_TRIAL_EPOCHS * math.ceil(_TRIAL_TILES / batch_size))
