"""The heads of a study on the machines of a Ray cluster (the optional extra `ray`).

Features are computed here and put into the cluster's object store once; a task is one training. The
code that runs elsewhere is `training.experiments.study.head`, sent with the task, so the other
machines need Ray and NumPy, but neither this project, nor TensorFlow, nor the tiles. A task whose
machine dies is given to another one; its result is the same, since a run depends only on its
settings.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import asdict, fields
from typing import Any, Final

from training.errors import RunError
from training.experiments.study import head
from training.experiments.study.engines import Task
from training.experiments.study.head import HeadFit, HeadSettings, fit_head
from training.experiments.study.study import Study

_LOCAL: Final = "local"
_RETRIES: Final = 20
"""How often a task may lose its machine."""
_ANSWERS_S: Final = 10.0
_AHEAD: Final = 3
"""Tasks handed out for each processor, so that none waits for this process."""


class RayEngine:
    """Trains on a cluster, or on all processors of this machine."""

    def __init__(self, address: str | None = None) -> None:
        """Remember where the cluster is.

        Args:
            address: as `ray.init` takes it; None starts Ray on this machine for the study.

        Raises:
            RunError: Ray is not installed.
        """
        try:
            import ray  # noqa: F401 - an optional extra
        except ModuleNotFoundError as error:
            raise RunError(
                "Ray is not installed. Install the extra: pip install 'osteo-tiles[ray]'."
            ) from error
        self._address = address or _LOCAL

    def run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, HeadFit]]:
        """Train, yielding each task when it is done.

        Raises:
            RunError: the cluster cannot be reached, or loses a task again and again.
        """
        import ray

        self._connect()
        try:
            yield from self._run(tasks)
        except ray.exceptions.RayError as error:
            raise RunError(
                f"The cluster failed ({type(error).__name__}). What is done is kept: the same "
                "command goes on where it was."
            ) from error
        finally:
            ray.shutdown()

    def _connect(self) -> None:
        import ray

        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is reported to anybody
        try:
            _require_listener(self._address)
            ray.init(self._address, log_to_driver=False, logging_level="ERROR")
        except (OSError, ValueError, RuntimeError) as error:
            raise RunError(f"There is no Ray cluster at {self._address}.") from error
        ray.cloudpickle.register_pickle_by_value(head)

    def _run(self, tasks: Iterable[Task]) -> Iterator[tuple[Task, HeadFit]]:
        import ray

        def fit_there(
            settings: dict[str, Any], features: Any, classes: Any, train: Any, test: Any
        ) -> list[Any]:
            fitted = fit_head(features, classes, train, test, HeadSettings(**settings))
            # A class that was sent along is not the class that is known here; plain values are.
            return [getattr(fitted, field.name) for field in fields(fitted)]

        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(fit_there)
        pending: dict[Any, Task] = {}
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
    """Ray itself would try an address at which nobody listens for minutes."""
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        host = host.rpartition("//")[2]
        socket.create_connection((host, int(port)), timeout=_ANSWERS_S).close()


def require_cached_views(study: Study) -> None:
    """Only this process has the tiles and the base, so views cannot be drawn elsewhere.

    Raises:
        RunError: the study draws views anew in every epoch.
    """
    if study.table_1 and study.config.table.mode == "online":
        raise RunError(
            'table.mode is "online": views are drawn from the tiles in every epoch, and Ray has no '
            'tiles. Set table.mode = "cached", or leave out --engine ray.'
        )


def _finished(pending: dict[Any, Task]) -> Iterator[tuple[Task, HeadFit]]:
    import ray

    ready, _ = ray.wait(list(pending), num_returns=1)
    for reference in ready:
        yield pending.pop(reference), HeadFit(*ray.get(reference))
