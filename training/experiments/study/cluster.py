"""Fit the heads of a study on the machines of a Ray cluster (the optional extra `ray`).

This process computes the features and puts them into the cluster's object store once; a task is one
fit. The only code that runs on other machines is `training.experiments.study.head`, which is sent
with the task. So they need Ray and NumPy, but not this project, TensorFlow or the tiles. If a
machine dies, Ray gives its tasks to another one; the result is the same, since a run depends only
on its settings.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from typing import Any, Final

from training.errors import RunError
from training.experiments.study import head
from training.experiments.study.engines import HeadTask
from training.experiments.study.head import HeadFit, HeadSettings, fit_head
from training.experiments.study.study import Study

_LOCAL: Final = "local"
_RETRIES: Final = 20
"""How often a task may lose its machine."""
_ANSWERS_S: Final = 10.0
_AHEAD: Final = 3
"""Tasks submitted for each processor, so that none waits for this process."""


class RayEngine:
    """Fits on a cluster, or on all processors of this machine."""

    def __init__(self, address: str | None = None) -> None:
        """Check that Ray is installed; the cluster is not contacted yet.

        Args:
            address: as `ray.init` takes it; None starts Ray on this machine for the study.

        Raises:
            RunError: Ray is not installed.
        """
        try:
            import ray  # noqa: F401 - checks that the optional extra is installed
        except ModuleNotFoundError as error:
            raise RunError(
                "Ray is not installed. Install the extra: .venv/bin/pip install -e '.[ray]'."
            ) from error
        self._address = address or _LOCAL

    def run(self, tasks: Iterable[HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
        """Fit every task, and yield it with its result.

        Raises:
            RunError: the cluster cannot be reached, or keeps losing a task.
        """
        import ray

        self._connect()
        try:
            yield from self._run(tasks)
        except ray.exceptions.RayError as error:
            raise RunError(
                f"The cluster failed ({type(error).__name__}). Finished runs are in the journal. "
                "Run the same command again to resume."
            ) from error
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            _require_listener(self._address)
            ray.init(self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(f"There is no Ray cluster at {self._address}.") from error
        ray.cloudpickle.register_pickle_by_value(head)

    def _run(self, tasks: Iterable[HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
        import ray

        def fit_there(
            settings: dict[str, Any], features: Any, classes: Any, train: Any, test: Any
        ) -> list[Any]:
            fitted = fit_head(features, classes, train, test, HeadSettings(**settings))
            # The class that was sent differs from the class imported here, so return values only.
            return [getattr(fitted, field.name) for field in fields(fitted)]

        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(fit_there)
        pending: dict[Any, HeadTask] = {}
        shared: tuple[Any, Any] = (None, None)
        n_ahead = max(1, _AHEAD * int(ray.cluster_resources().get("CPU", 1)))
        for task in tasks:
            if task.features is not shared[0]:
                shared = task.features, ray.put(task.features)
            arrays = shared[1], task.class_indices, task.train, task.test
            pending[remote.remote(asdict(task.settings), *arrays)] = task
            while len(pending) >= n_ahead:
                yield from _finished(pending)
        while pending:
            yield from _finished(pending)


def _require_listener(address: str) -> None:
    """Fail at once if nothing listens at the address; Ray would try for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        host = host.rpartition("//")[2]
        socket.create_connection((host, int(port)), timeout=_ANSWERS_S).close()


def require_cached_views(study: Study) -> None:
    """Refuse online views: only this process has the tiles and the backbone that they need.

    Raises:
        RunError: the study draws new views in every epoch.
    """
    if study.table_1 and study.config.table.mode == "online":
        raise RunError(
            'table.mode = "online" draws views from the tiles in every epoch, and Ray workers have '
            'no tiles. Set table.mode = "cached", or leave out --engine ray.'
        )


def _finished(pending: dict[Any, HeadTask]) -> Iterator[tuple[HeadTask, HeadFit]]:
    import ray

    ready, _ = ray.wait(list(pending), num_returns=1)
    for reference in ready:
        yield pending.pop(reference), HeadFit(*ray.get(reference))
