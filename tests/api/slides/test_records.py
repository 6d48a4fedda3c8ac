"""Who may use slides, and what the audit keeps of them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.access.caller import Scope
from app.access.failed_attempts import FailedAttempts
from app.audit.opening import make_store
from app.audit.reading import walk_period
from tests.access.keys import make_key
from tests.api.slides.finished_jobs import run_job
from tests.conftest import MakeClient
from tests.slides.drawn_slides import Drawing, draw_slide


@pytest.fixture
def audit_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'audit.sqlite3'}"


@pytest.fixture
def other_key(tmp_path: Path) -> dict[str, str]:
    """The headers of a caller with every other scope; created before the service starts."""
    scopes = [scope for scope in Scope if scope is not Scope.SLIDES]
    return make_key(tmp_path / "keys.json", "viewer", *scopes)


@pytest.fixture
def guarded(
    make_slide_client: MakeClient, tmp_path: Path, audit_url: str, other_key: dict[str, str]
) -> TestClient:
    """A service that identifies and records its callers; its client has the scope `slides`."""
    assert other_key, "is in the file that the service reads at start"
    keys = tmp_path / "keys.json"
    key = make_key(keys, "scanner", Scope.SLIDES)
    mount = tmp_path / "mount"
    mount.mkdir()
    draw_slide(mount / "slide.tif", Drawing(columns=2, rows=1))
    client = make_slide_client(
        keys_file=keys,
        audit="required",
        audit_url=SecretStr(audit_url),
        slide_mounts=f"archive={mount}",
    )
    client.headers.update(key)
    return client


def slide_records(url: str) -> list[dict[str, Any]]:
    store = make_store(url)
    found = [json.loads(row.record) for row in walk_period(store, None, None)]
    store.close()
    return [record for record in found if record["event"].startswith(("slide", "job"))]


def test_every_route_needs_the_scope(
    guarded: TestClient, other_key: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FailedAttempts, "delay_s", lambda *_: 0.0)
    guarded.headers.pop("Authorization")
    for method, path in (
        *(("POST", "/v1/uploads"), ("PUT", "/v1/uploads/x"), ("PATCH", "/v1/uploads/x")),
        *(("GET", "/v1/uploads/x"), ("DELETE", "/v1/uploads/x"), ("HEAD", "/v1/uploads/x")),
        *(("OPTIONS", "/v1/uploads"), ("POST", "/v1/uploads/x"), ("GET", "/v1/slides/")),
        *(("POST", "/v1/slides"), ("GET", "/v1/slides/x/dzi_files/1/0_0.jpeg")),
        *(("GET", "/v1/jobs"), ("GET", "/v1/jobs/x/events"), ("POST", "/v1/specimens")),
        *(("GET", "/v1/jobs/x/results/report.html"), ("DELETE", "/v1/jobs/x%0A")),
    ):
        assert guarded.request(method, path).status_code == 401, path
        assert guarded.request(method, path, headers=other_key).status_code == 403, path


def test_slides_jobs_and_answers_are_recorded(
    guarded: TestClient, tmp_path: Path, audit_url: str
) -> None:
    place = {"mount": "archive", "path": "slide.tif"}
    slide = guarded.post("/v1/slides", json=place).headers["Location"]
    job = guarded.post(f"{slide}/jobs")
    guarded.post(f"{slide}/jobs")
    run_job(guarded, tmp_path / "manifest")
    summary = guarded.get(f"{job.headers['Location']}/results/summary.json").json()
    guarded.post("/v1/specimens", json={"jobs": [job.json()["id"]]})
    guarded.delete(job.headers["Location"])
    guarded.delete(slide)
    records = slide_records(audit_url)
    assert [record["event"] for record in records] == [
        *("slide-added", "job-submitted", "slide-answer", "slide-answer"),
        *("job-deleted", "slide-deleted"),
    ]
    sha256 = slide.rsplit("/", 1)[1]
    assert {record["caller"] for record in records} == {"scanner"}
    answer, specimen = records[2:4]
    assert answer["bundle_sha256"] == summary["model"]["bundle_sha256"]
    assert answer["details"] == {
        "job": job.json()["id"],
        "result": "summary.json",
        "slide_sha256": sha256,
        "necrosis_ratio": summary["necrosis"]["ratio"],
    }
    assert specimen["details"]["slides_sha256"] == [sha256]
    assert "slide.tif" not in json.dumps(records)


def test_answer_that_cannot_be_recorded_is_not_sent(
    guarded: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = {"mount": "archive", "path": "slide.tif"}
    slide = guarded.post("/v1/slides", json=place).headers["Location"]
    job = guarded.post(f"{slide}/jobs").headers["Location"]
    run_job(guarded, tmp_path / "manifest")
    monkeypatch.setattr("app.audit.writer.COMMIT_TIMEOUT_S", 0.2)
    with closing(sqlite3.connect(tmp_path / "audit.sqlite3", isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        answer = guarded.get(f"{job}/results/summary.json")
    assert answer.status_code == 503
    assert "necrosis" not in answer.text
