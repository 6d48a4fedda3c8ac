"""Runs are logged with MLflow's own client, to a store of files."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.training.command_line import run
from tests.training.evaluation.runs import run_of
from training.config import TrainingConfig
from training.errors import RunError
from training.evaluation.mlflow_sink import MlflowSink
from training.runs.identity import RunIdentity
from training.runs.records import FinalFit

IDENTITY = RunIdentity(
    configuration="c", index="i", split="s", weights="none", synthetic=None, code="k"
)
RUN = run_of([(0, 0), (0, 1), (1, 1), (2, 2)]).model_copy(update={"identity": IDENTITY})


@pytest.fixture
def uri(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    return (tmp_path / "mlruns").as_uri()


def test_log_writes_settings_results_and_curves(uri: str) -> None:
    from mlflow import MlflowClient

    assert MlflowSink(uri, "m").log("slide", RUN)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("m")
    assert experiment is not None
    (logged,) = client.search_runs([experiment.experiment_id])
    assert logged.info.status == "FINISHED"
    assert logged.data.params["head.epochs"] == "30"
    assert logged.data.params["network.system"] == "mobilenetv2"
    assert logged.data.tags["split"] == "slide"
    assert logged.data.metrics["accuracy"] == 0.75
    curve = client.get_metric_history(logged.info.run_id, "epoch.loss")
    assert [(point.step, point.value) for point in curve] == [(1, 1.0), (2, 0.5), (3, 1.0)]


def test_log_logs_a_run_once(uri: str) -> None:
    sink = MlflowSink(uri, "m")
    assert [sink.log("slide", RUN), sink.log("slide", RUN)] == [True, False]
    other = IDENTITY.model_copy(update={"split": "t"})
    assert sink.log("slide", RUN.model_copy(update={"identity": other}))


def test_log_takes_a_fit_on_all_tiles(uri: str) -> None:
    config = TrainingConfig(model_name="m")
    record = {"loss": 0.5, "accuracy": 1.0, "test_loss": None, "test_accuracy": None}
    fit = FinalFit(index_sha256="i", config=config, history=(record,), identity=IDENTITY)
    assert MlflowSink(uri, "m").log("final", fit)


def test_sink_says_that_mlflow_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(RunError, match="pip install mlflow-skinny"):
        MlflowSink("http://127.0.0.1:1", "m")


def test_fit_fails_in_one_sentence_before_any_work_if_the_server_does_not_answer(
    tmp_path: Path, tiny_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    given = ("--data-dir", tmp_path, "--config", tiny_config, "--out", tmp_path / "run")
    result = run("fit", *given, "--mlflow", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "MLflow at http://127.0.0.1:1 cannot be used" in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "run").exists()
