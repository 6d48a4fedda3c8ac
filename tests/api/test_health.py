from __future__ import annotations

import time
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.core.errors import NotReadyError
from app.core.manifest import LITERT_NAME
from app.main import create_app
from app.settings import Settings
from tests.bundles import MODEL_NAME, FakeRuntime, nan_logits, plain_tile
from tests.conftest import MakeClient


def test_ready_after_the_golden_check(make_client: MakeClient, runtime: FakeRuntime) -> None:
    client = make_client()
    assert client.get("/readyz").json() == {"status": "ready"}
    assert runtime.n_tiles >= 1
    assert "osteo_ready 1.0" in client.get("/metrics").text


def test_live_but_not_ready_while_loading(make_client: MakeClient, runtime: FakeRuntime) -> None:
    runtime.delay_s = 0.3
    client = make_client(wait=False)
    assert client.get("/livez").json() == {"status": "live"}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reason"]) == (503, "the model is being loaded")
    assert client.post("/v1/classify", content=plain_tile((1, 2, 3))).status_code == 503
    assert client.get("/v1/models").status_code == 503


def damage(models_dir: Path) -> None:
    (models_dir / MODEL_NAME / "1" / LITERT_NAME).write_bytes(b"damaged")


def remove(models_dir: Path) -> None:
    (models_dir / MODEL_NAME).rename(models_dir / "elsewhere")


@pytest.mark.parametrize(("fault", "expected"), [(damage, "SHA-256"), (remove, "No model bundle")])
def test_not_ready_without_a_valid_bundle(
    make_client: MakeClient, models_dir: Path, fault: object, expected: str
) -> None:
    fault(models_dir)  # type: ignore[operator] # one of the two above
    client = make_client(wait=False)
    wait_until_loaded(client)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert expected in answer.json()["reason"]
    assert client.get("/livez").status_code == 200
    assert "osteo_ready 0.0" in client.get("/metrics").text


def test_not_ready_when_the_golden_tiles_differ(
    make_client: MakeClient, runtime: FakeRuntime
) -> None:
    runtime.poison = nan_logits
    client = make_client(wait=False)
    wait_until_loaded(client)
    assert "Golden tile" in client.get("/readyz").json()["reason"]
    assert client.post("/v1/classify", content=plain_tile((1, 2, 3))).status_code == 503


def test_not_ready_while_draining_but_still_answering(make_client: MakeClient) -> None:
    client = make_client()
    client.app.state.service.begin_drain()  # type: ignore[attr-defined] # a FastAPI application
    assert client.get("/readyz").status_code == 503
    assert client.post("/v1/classify", content=plain_tile((1, 2, 3))).status_code == 200


def test_runtime_is_closed_at_the_end(make_client: MakeClient, runtime: FakeRuntime) -> None:
    client = make_client()
    client.__exit__(None, None, None)
    assert runtime.is_closed
    client.__enter__()  # the fixture closes it once more


def test_metrics_count_requests_tiles_and_problems(make_client: MakeClient) -> None:
    client = make_client()
    client.post("/v1/classify", content=plain_tile((220, 9, 9)))
    client.post("/v1/classify", content=b"junk")
    client.get("/nowhere")
    text = client.get("/metrics").text
    for line in (
        'osteo_requests_total{route="/v1/classify",status="200"} 1.0',
        'osteo_requests_total{route="/v1/classify",status="415"} 1.0',
        'osteo_requests_total{route="unmatched",status="404"} 1.0',
        'osteo_predictions_total{label="non_tumor"} 1.0',
        'osteo_tile_problems_total{problem="unsupported-format"} 1.0',
        'osteo_request_problems_total{problem="unsupported-format"} 1.0',
        'osteo_stage_seconds_count{stage="inference"} 1.0',
        "osteo_tiles_in_flight 0.0",
        "process_start_time_seconds",
    ):
        assert line in text
    assert 'model_name="osteo-mobilenetv2"' in text


@pytest.mark.parametrize(
    "series",
    [
        'osteo_request_problems_total{problem="slides-full"}',
        'osteo_request_problems_total{problem="disk-full"}',
        'osteo_access_refusals_total{reason="unknown"}',
        'osteo_access_refusals_total{reason="signature"}',
    ],
)
def test_series_of_an_alert_on_few_events_begins_at_zero(client: TestClient, series: str) -> None:
    """Otherwise the alert would miss the events before the first scrape that has the series."""
    assert f"{series} 0.0" in client.get("/metrics").text


def test_models_describe_the_model_that_serves(client: TestClient) -> None:
    document = client.get("/v1/models").json()
    (model,) = document["models"]
    assert (model["runtime"], model["device"], model["workers"]) == ("fake", "cpu", 2)
    assert [label["id"] for label in model["labels"]] == [
        "non_tumor",
        "non_viable_tumor",
        "viable_tumor",
    ]
    assert document["limits"]["max_request_tiles"] == 64
    assert "Not a medical device" in document["notice"]
    tile = client.post("/v1/classify", content=plain_tile((1, 2, 3))).json()
    assert tile["model"]["bundle_sha256"] == model["bundle_sha256"]


def test_docs_load_nothing_from_other_hosts(client: TestClient) -> None:
    page = client.get("/docs").text
    assert "http://" not in page
    assert "https://" not in page
    assert client.get("/static-offline-docs/swagger-ui-bundle.js").status_code == 200


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), ZeroDivisionError()])
def test_any_error_while_loading_shows_in_readiness(models_dir: Path, error: Exception) -> None:
    def opener(*_: object) -> FakeRuntime:
        raise error

    app = create_app(Settings(models_dir=models_dir), opener)
    with TestClient(app) as client:
        wait_until_loaded(client)
        answer = client.get("/readyz")
    assert answer.status_code == 503
    assert "Permission denied" in answer.text or "could not be loaded" in answer.text


def test_readiness_recovers_without_a_tile(
    make_client: MakeClient, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.serving.lifecycle.RECOVERY_PERIOD_S", 0.05)
    client = make_client()
    runtime.poison = nan_logits
    for _ in range(5):
        client.post("/v1/classify", content=plain_tile((1, 2, 3)))
    assert client.get("/readyz").status_code == 503
    runtime.poison = lambda logits: logits
    deadline = time.monotonic() + 5
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline


def test_gauges_return_to_zero_after_a_batch(client: TestClient) -> None:
    client.post("/v1/classify/batch", files=[("files", ("t", plain_tile((1, 2, 3))))] * 60)
    text = client.get("/metrics").text
    for gauge in ("osteo_tiles_in_flight", "osteo_tiles_waiting", "osteo_upload_bytes"):
        assert f"{gauge} 0.0" in text


def wait_until_loaded(client: TestClient) -> None:
    for _ in range(500):
        if "being loaded" not in client.get("/readyz").text:
            return
    raise AssertionError("the model is loaded for ever")


@pytest.mark.parametrize("reason", ["the model is being loaded", "Restore the bundle."])
def test_reason_ends_in_one_full_stop(reason: str) -> None:
    assert str(NotReadyError(reason)) == f"The service is not ready: {reason.rstrip('.')}."
