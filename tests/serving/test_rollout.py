from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.core.manifest import LITERT_NAME, MANIFEST_NAME, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.serving.loading import open_classifier
from app.serving.worker_pool import ActiveModel
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import (
    MODEL_NAME,
    FakeRuntime,
    build_bundle,
    manifest_of,
    opener_of,
    plain_tile,
)
from tests.conftest import MakeClient
from tests.records import a_record

TOKEN = "a-long-secret-of-tests"
ADMIN = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client(admin_token=TOKEN)


def version_of(client: TestClient) -> Any:
    answer = client.post("/v1/classify", content=plain_tile((200, 30, 30)))
    assert answer.status_code == 200
    return answer.json()["model"]["version"]


def test_new_version_takes_over_and_one_call_rolls_back(
    client: TestClient, models_dir: Path
) -> None:
    build_bundle(models_dir, "2")
    assert version_of(client) == "1"
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["version"]) == (200, "2")
    assert version_of(client) == "2"
    document = client.get("/v1/models").json()
    assert (document["models"][0]["version"], document["versions"]) == ("2", ["1", "2"])
    assert 'model_version="2"' in client.get("/metrics").text
    assert "osteo_model_info{bundle_sha256" in client.get("/metrics").text
    assert 'model_version="1"' not in client.get("/metrics").text
    assert client.post("/v1/models/rollback", headers=ADMIN).json()["version"] == "1"
    assert version_of(client) == "1"


def test_broken_version_leaves_the_old_one_serving_and_says_why(
    client: TestClient, models_dir: Path
) -> None:
    path = build_bundle(models_dir, "2")
    (path / LITERT_NAME).write_bytes(b"flipped")
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert "SHA-256" in answer.json()["reason"]
    assert version_of(client) == "1"
    assert client.get("/readyz").status_code == 200
    assert 'osteo_model_swaps_total{outcome="refused"} 1.0' in client.get("/metrics").text


def test_version_with_a_foreign_reference_is_refused_and_its_runtime_closed(
    client: TestClient, models_dir: Path, runtime: FakeRuntime
) -> None:
    path = build_bundle(models_dir, "2", a_record())
    ReferenceTiles(np.eye(4, 8)).write(path / REFERENCE_NAME)
    write_manifest(path / MANIFEST_NAME, manifest_of(path, "2", a_record()))
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert "size 8, the model's 1280" in answer.json()["reason"]
    assert runtime.is_closed, "else every look at a bad version would leave one open"
    assert version_of(client) == "1"


@pytest.mark.parametrize("version", ["9", ".."])
def test_version_that_is_not_there_is_not_found(client: TestClient, version: str) -> None:
    answer = client.post(f"/v1/models/{version}/activate", headers=ADMIN)
    assert answer.status_code == 404
    assert version_of(client) == "1"


def test_roll_back_needs_a_version_that_served_before(client: TestClient) -> None:
    assert client.post("/v1/models/rollback", headers=ADMIN).status_code == 404


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "x"}])
@pytest.mark.parametrize("path", ["/v1/models/1/activate", "/v1/models/rollback"])
def test_change_needs_the_token(client: TestClient, headers: dict[str, str], path: str) -> None:
    answer = client.post(path, headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (403, "/problems/admin-denied")


def test_change_is_off_without_a_token(make_client: MakeClient) -> None:
    answer = make_client().post("/v1/models/1/activate", headers={"Authorization": "Bearer "})
    assert (answer.status_code, "not set" in answer.json()["detail"]) == (403, True)


def test_new_folder_is_noticed(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.05)
    build_bundle(models_dir / "staging", "2").rename(models_dir / MODEL_NAME / "2")
    deadline = time.monotonic() + 5
    while version_of(client) != "2":
        assert time.monotonic() < deadline


def test_broken_new_folder_is_tried_once(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.02)
    path = build_bundle(models_dir / "staging", "2")
    (path / LITERT_NAME).write_bytes(b"flipped")
    path.rename(models_dir / MODEL_NAME / "2")
    time.sleep(0.3)
    assert version_of(client) == "1"
    assert 'outcome="refused"} 1.0' in client.get("/metrics").text


def test_restored_bundle_brings_a_service_without_a_model_up(
    make_client: MakeClient, models_dir: Path
) -> None:
    (models_dir / MODEL_NAME / "1").rename(models_dir / "away")
    client = make_client(wait=False, watch_models_s=0.02)
    deadline = time.monotonic() + 5
    while "No model bundle" not in client.get("/readyz").text:
        assert time.monotonic() < deadline
    (models_dir / "away").rename(models_dir / MODEL_NAME / "1")
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline


@pytest.mark.parametrize("version", ["x", "01", "1.0", "-1"])
def test_version_that_cannot_be_one_is_invalid(client: TestClient, version: str) -> None:
    answer = client.post(f"/v1/models/{version}/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
    assert answer.json()["errors"][0]["where"] == "path.version"


def test_rollback_is_not_undone_by_the_watch(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.02, admin_token=TOKEN)
    build_bundle(models_dir / "staging", "2").rename(models_dir / MODEL_NAME / "2")
    deadline = time.monotonic() + 5
    while version_of(client) != "2":
        assert time.monotonic() < deadline
    client.post("/v1/models/rollback", headers=ADMIN)
    time.sleep(0.2)
    assert version_of(client) == "1"


def test_good_version_is_taken_beside_a_broken_newer_one(
    make_client: MakeClient, models_dir: Path
) -> None:
    client = make_client(watch_models_s=0.3)
    (build_bundle(models_dir / "staging", "3") / LITERT_NAME).write_bytes(b"flipped")
    build_bundle(models_dir / "staging", "2")
    for version in ("2", "3"):
        staged = models_dir / "staging" / MODEL_NAME / version
        staged.rename(models_dir / MODEL_NAME / version)
    deadline = time.monotonic() + 5
    while version_of(client) != "2":
        assert time.monotonic() < deadline


class StartingPool(Executor):
    """A thread that has taken its work and is stopped before the first line of it."""

    def submit(self, work: Callable[..., Any], /, *_args: Any, **_kwargs: Any) -> Future[Any]:
        self.work = work
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        return future


def test_tile_given_up_as_it_starts_stops_waiting_once(
    models_dir: Path, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, pool, waiting = Settings(models_dir=models_dir), StartingPool(), [0]

    def count(step: int) -> None:
        waiting[0] += step

    async def give_up() -> None:
        classifier = open_classifier(settings, Metrics(), opener_of(runtime))
        model = ActiveModel(classifier, count, 1000)
        monkeypatch.setattr(model, "_pool", pool)
        task = asyncio.create_task(model.classify(plain_tile((1, 2, 3))))
        await asyncio.sleep(0)
        assert waiting == [1]
        task.cancel()
        await asyncio.wait((task,))
        pool.work()

    asyncio.run(give_up())
    assert waiting == [0]
