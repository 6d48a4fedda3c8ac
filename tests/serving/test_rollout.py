from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.core.manifest import LITERT_NAME, MANIFEST_NAME, sha256_of_file, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from tests.bundles import (
    MODEL_NAME,
    FakeRuntime,
    build_bundle,
    manifest_of,
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


def test_version_is_activated_and_rolled_back(client: TestClient, models_dir: Path) -> None:
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


def test_rollback_after_a_repeated_activation_leads_to_the_version_before(
    client: TestClient, models_dir: Path
) -> None:
    build_bundle(models_dir, "2")
    for _ in range(3):
        answer = client.post("/v1/models/2/activate", headers=ADMIN)
        assert (answer.status_code, answer.json()["version"]) == (200, "2")
    # One at the start, one for the first activation; the repeated ones change nothing.
    assert 'osteo_model_swaps_total{outcome="activated"} 2.0' in client.get("/metrics").text
    assert client.post("/v1/models/rollback", headers=ADMIN).json()["version"] == "1"
    assert version_of(client) == "1"


def test_changed_bundle_of_the_version_that_serves_is_loaded_and_is_not_its_own_previous(
    client: TestClient, models_dir: Path
) -> None:
    before = client.get("/v1/models").json()["models"][0]["bundle_sha256"]
    path = models_dir / MODEL_NAME / "1" / MANIFEST_NAME
    path.write_text(path.read_text().replace("{", "{ ", 1))
    answer = client.post("/v1/models/1/activate", headers=ADMIN)
    assert answer.status_code == 200
    assert answer.json()["bundle_sha256"] not in (before, "")
    assert client.post("/v1/models/rollback", headers=ADMIN).status_code == 404


def test_damaged_version_is_not_activated(client: TestClient, models_dir: Path) -> None:
    path = build_bundle(models_dir, "2")
    (path / LITERT_NAME).write_bytes(b"flipped")
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert "SHA-256" in answer.json()["reason"]
    assert version_of(client) == "1"
    assert client.get("/readyz").status_code == 200
    assert 'osteo_model_swaps_total{outcome="refused"} 1.0' in client.get("/metrics").text


def test_runtime_of_a_version_that_is_not_activated_is_closed(
    client: TestClient, models_dir: Path, runtime: FakeRuntime
) -> None:
    path = build_bundle(models_dir, "2", a_record())
    ReferenceTiles(np.eye(4, 8)).write(path / REFERENCE_NAME)
    write_manifest(path / MANIFEST_NAME, manifest_of(path, "2", a_record()))
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert "size 8, the model's 1280" in answer.json()["reason"]
    assert runtime.is_closed, "or every attempt at a bad version would leak one"
    assert version_of(client) == "1"


def test_version_whose_threads_cannot_start_is_not_activated(
    client: TestClient, models_dir: Path, runtime: FakeRuntime, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit = ThreadPoolExecutor.submit

    def fail(pool: ThreadPoolExecutor, *arguments: Any) -> Any:
        if pool._thread_name_prefix == "tile-v2":
            raise RuntimeError("can't start new thread")
        return submit(pool, *arguments)

    build_bundle(models_dir, "2")
    with monkeypatch.context() as patched:
        patched.setattr(ThreadPoolExecutor, "submit", fail)
        answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert "not all of its 2 worker threads could be started" in answer.json()["reason"]
    assert runtime.is_closed
    assert version_of(client) == "1"


def test_missing_version_is_not_found(client: TestClient) -> None:
    for version in ("9", ".."):
        answer = client.post(f"/v1/models/{version}/activate", headers=ADMIN)
        assert answer.status_code == 404
    assert version_of(client) == "1"


def test_rollback_needs_a_previous_version(client: TestClient) -> None:
    assert client.post("/v1/models/rollback", headers=ADMIN).status_code == 404


def test_version_of_another_sha256_is_not_activated(
    make_client: MakeClient, models_dir: Path
) -> None:
    pinned = sha256_of_file(models_dir / MODEL_NAME / "1" / MANIFEST_NAME)
    client = make_client(admin_token=TOKEN, bundle_sha256=pinned, watch_models_s=0.02)
    build_bundle(models_dir / "staging", "2").rename(models_dir / MODEL_NAME / "2")
    found = sha256_of_file(models_dir / MODEL_NAME / "2" / MANIFEST_NAME)
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    assert (answer.status_code, answer.json()["type"]) == (409, "/problems/activation-refused")
    assert pinned in answer.json()["reason"]
    assert found in answer.json()["reason"]
    deadline = time.monotonic() + 60
    while 'outcome="refused"} 2.0' not in client.get("/metrics").text:  # the watcher's try
        assert time.monotonic() < deadline
    assert version_of(client) == "1"


def test_service_does_not_start_with_another_sha256(
    make_client: MakeClient, models_dir: Path
) -> None:
    client = make_client(wait=False, bundle_sha256="a" * 64)
    found = sha256_of_file(models_dir / MODEL_NAME / "1" / MANIFEST_NAME)
    deadline = time.monotonic() + 60
    while "a" * 64 not in client.get("/readyz").text:
        assert time.monotonic() < deadline
    assert found in client.get("/readyz").text


def test_unexpected_error_refuses_a_version_without_a_path(
    client: TestClient, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_bundle(models_dir, "2")
    for error, said in (
        (MemoryError(), "not enough memory"),
        (PermissionError(13, "Permission denied", "/srv/models"), "Permission denied"),
        (ZeroDivisionError("/srv/models"), "ZeroDivisionError"),
    ):
        monkeypatch.setattr("app.serving.loading.open_bundle", Mock(side_effect=error))
        answer = client.post("/v1/models/2/activate", headers=ADMIN)
        assert answer.status_code == 409
        assert said in answer.json()["reason"]
        assert "/srv" not in answer.text
    assert version_of(client) == "1"


def test_model_with_other_outputs_than_the_manifest_is_not_activated(
    client: TestClient, models_dir: Path, runtime: FakeRuntime
) -> None:
    build_bundle(models_dir, "2")
    embedding, runtime.embedding = runtime.embedding, np.zeros(8, np.float32)
    answer = client.post("/v1/models/2/activate", headers=ADMIN)
    runtime.embedding = embedding
    assert answer.status_code == 409
    assert "(1, 8)" in answer.json()["reason"]
    assert version_of(client) == "1"


@pytest.mark.parametrize("path", ["/v1/models/1/activate", "/v1/models/rollback"])
def test_switching_needs_the_token(client: TestClient, path: str) -> None:
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "x"}):
        answer = client.post(path, headers=headers)
        kind = "invalid" if headers else "missing"
        assert (answer.status_code, answer.json()["type"]) == (401, f"/problems/credentials-{kind}")


def test_switching_needs_a_key_where_everybody_may_classify(make_client: MakeClient) -> None:
    answer = make_client().post("/v1/models/1/activate")
    assert (answer.status_code, "API key" in answer.json()["detail"]) == (401, True)


def test_watch_activates_a_new_version(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.05)
    build_bundle(models_dir / "staging", "2").rename(models_dir / MODEL_NAME / "2")
    deadline = time.monotonic() + 5
    while version_of(client) != "2":
        assert time.monotonic() < deadline


def test_watch_tries_a_damaged_version_once(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.02)
    path = build_bundle(models_dir / "staging", "2")
    (path / LITERT_NAME).write_bytes(b"flipped")
    path.rename(models_dir / MODEL_NAME / "2")
    time.sleep(0.3)
    assert version_of(client) == "1"
    assert 'outcome="refused"} 1.0' in client.get("/metrics").text


def test_watch_activates_a_restored_bundle(make_client: MakeClient, models_dir: Path) -> None:
    (models_dir / MODEL_NAME / "1").rename(models_dir / "away")
    client = make_client(wait=False, watch_models_s=0.02)
    deadline = time.monotonic() + 5
    while "No model bundle" not in client.get("/readyz").text:
        assert time.monotonic() < deadline
    (models_dir / "away").rename(models_dir / MODEL_NAME / "1")
    while client.get("/readyz").status_code != 200:
        assert time.monotonic() < deadline


def test_malformed_version_is_invalid(client: TestClient) -> None:
    for version in ("x", "01", "1.0", "-1", "9" * 10, "9" * 300, "9" * 5000):
        answer = client.post(f"/v1/models/{version}/activate", headers=ADMIN)
        assert (answer.status_code, answer.json()["type"]) == (422, "/problems/invalid-request")
        assert answer.json()["errors"][0]["where"] == "path.version"
        assert len(answer.text) < 1000


def test_watch_does_not_undo_a_rollback(make_client: MakeClient, models_dir: Path) -> None:
    client = make_client(watch_models_s=0.02, admin_token=TOKEN)
    build_bundle(models_dir / "staging", "2").rename(models_dir / MODEL_NAME / "2")
    deadline = time.monotonic() + 5
    while version_of(client) != "2":
        assert time.monotonic() < deadline
    client.post("/v1/models/rollback", headers=ADMIN)
    time.sleep(0.2)
    assert version_of(client) == "1"


def test_watch_activates_the_newest_valid_version(
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
