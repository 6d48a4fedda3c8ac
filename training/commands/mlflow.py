"""Log finished runs to MLflow, if the command line or the environment names a server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from training.commands.output import say

if TYPE_CHECKING:
    from training.evaluation.mlflow_sink import MlflowSink
    from training.runs.records import CrossValidation, FinalFit


def open_sink(uri: str | None, experiment: str) -> MlflowSink | None:
    """Connect before any work; None if no server was named.

    Raises:
        RunError: mlflow is not installed, or the server does not answer.
    """
    from training.distributed import is_chief
    from training.evaluation.mlflow_sink import MlflowSink

    return MlflowSink(uri, experiment) if uri and is_chief() else None


def log_runs(sink: MlflowSink | None, runs: Mapping[str, CrossValidation | FinalFit]) -> None:
    """Log the runs, by the name to show, that the experiment does not have yet.

    Raises:
        RunError: the server does not answer, or rejects a run.
    """
    for name, run in runs.items() if sink else ():
        logged = sink is not None and sink.log(name, run)
        say(f"MLflow: {name} {'logged' if logged else 'was logged before'}.")
