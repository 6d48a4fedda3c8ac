"""Log finished runs to MLflow, for teams that compare runs there."""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import fmean
from typing import Any, Final

from training.errors import RunError
from training.evaluation.comparison import flatten
from training.evaluation.metrics import evaluate
from training.runs.records import CrossValidation, FinalFit

_IDENTITY: Final = "osteo.identity"
_QUANTITIES: Final = ("loss", "accuracy", "test_loss", "test_accuracy")
_MEASURED: Final = (
    *("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "macro_f1_low", "macro_f1_high"),
    *("balanced_accuracy", "tumor_precision", "tumor_recall", "ece", "log_loss"),
)
_PARAMS_AT_ONCE: Final = 100
_METRICS_AT_ONCE: Final = 1000
"""Limits of MLflow's REST API."""


class MlflowSink:
    """An experiment of an MLflow server or store."""

    def __init__(self, uri: str, experiment: str) -> None:
        """Connect, so that a wrong address fails before any work.

        Args:
            uri: a server's address, or what else MLflow takes as a tracking URI.
            experiment: its name; created if it does not exist.

        Raises:
            RunError: mlflow is not installed, or the server does not answer.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
        # By default, MLflow retries for several minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        try:
            from mlflow import MlflowClient
        except ImportError as error:
            raise RunError(
                "mlflow is not installed. Run '.venv/bin/pip install mlflow-skinny', or leave out "
                "--mlflow and MLFLOW_TRACKING_URI."
            ) from error
        self._uri = uri
        with self._answering("Nothing was fitted."):
            self._client = MlflowClient(uri)
            found = self._client.get_experiment_by_name(experiment)
            self._experiment_id = (
                found.experiment_id if found else self._client.create_experiment(experiment)
            )

    def log(self, name: str, run: CrossValidation | FinalFit) -> bool:
        """Log settings, results and learning curves of a finished run.

        Returns:
            Whether it was logged; a run that the experiment has already is not logged again.

        Raises:
            RunError: the server does not answer, or rejects the run.
        """
        from mlflow.entities import Metric, Param

        digest = run.identity.digest if run.identity else ""
        now_ms = int(time.time() * 1000)
        metrics = [Metric(key, value, now_ms, step) for key, value, step in _metrics_of(run)]
        settings = flatten(run.config.model_dump(mode="json"))
        params = [Param(key, str(value)) for key, value in settings]
        with self._answering("The run is finished; the same command logs it without a new fit."):
            same = f"tags.`{_IDENTITY}` = '{digest}' and attributes.status = 'FINISHED'"
            if self._client.search_runs([self._experiment_id], same, max_results=1):
                return False
            tags = {_IDENTITY: digest, **_tags_of(run)}
            logged = self._client.create_run(self._experiment_id, run_name=name, tags=tags)
            run_id = logged.info.run_id
            for first in range(0, len(params), _PARAMS_AT_ONCE):
                self._client.log_batch(run_id, params=params[first : first + _PARAMS_AT_ONCE])
            for first in range(0, len(metrics), _METRICS_AT_ONCE):
                self._client.log_batch(run_id, metrics=metrics[first : first + _METRICS_AT_ONCE])
            self._client.set_terminated(run_id)  # last: only a complete run is FINISHED
        return True

    @contextmanager
    def _answering(self, state: str) -> Iterator[None]:
        from mlflow.exceptions import MlflowException

        try:
            yield
        except (MlflowException, OSError, ImportError) as error:
            reason = str(error).splitlines()[0].rstrip(".")
            raise RunError(f"MLflow at {self._uri} cannot be used: {reason}. {state}") from error


def _tags_of(run: CrossValidation | FinalFit) -> dict[str, str]:
    tags = {"index_sha256": run.index_sha256}
    if isinstance(run, CrossValidation):
        tags |= {"split": run.kind, "split_sha256": run.split_sha256}
    return tags


def _metrics_of(run: CrossValidation | FinalFit) -> Iterator[tuple[str, float, int]]:
    """Name, value and epoch; the curves are means over the folds."""
    by_epoch: Mapping[tuple[str, int], list[float]] = defaultdict(list)
    histories: Sequence[Sequence[Mapping[str, Any]]] = list(run.curves.values())
    for records in histories:
        for epoch, record in enumerate(records, start=1):
            for key in _QUANTITIES:
                if record[key] is not None:
                    by_epoch[key, epoch].append(record[key])
    for (key, epoch), values in by_epoch.items():
        yield f"epoch.{key}", fmean(values), epoch
    if isinstance(run, CrossValidation):
        measured = evaluate(run)
        for key in _MEASURED:
            if (value := getattr(measured, key)) is not None:
                yield key, value, 0
