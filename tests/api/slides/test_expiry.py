"""Uploads, slides and results that nobody uses are deleted by the service itself."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.api.slides.finished_jobs import run_job
from tests.slides.drawn_slides import Drawing, draw_slide


@pytest.fixture
def slide(client: TestClient, tmp_path: Path) -> str:
    file = tmp_path / "slide.tif"
    draw_slide(file, Drawing(columns=2, rows=1))
    upload = client.put("/v1/uploads/x", content=file.read_bytes()).json()["id"]
    return str(client.post("/v1/slides", json={"upload": upload}).headers["Location"])


def age(folder: Path, hours: float) -> None:
    at = time.time() - hours * 3600
    for path in (folder, *folder.rglob("*")):
        os.utime(path, (at, at))


def delete_expired(client: TestClient) -> None:
    assert client.portal is not None
    app: Any = client.app
    client.portal.call(app.state.slides.delete_expired)


def test_what_nobody_uses_is_deleted(
    client: TestClient, slide: str, tmp_path: Path, state_dir: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    client.post("/v1/uploads", headers={"Upload-Length": "5"})
    age(state_dir / "slides", 150)
    delete_expired(client)
    assert client.get(slide).status_code == client.get(job).status_code == 200
    age(state_dir / "slides", 170)
    delete_expired(client)
    assert client.get(slide).status_code == client.get(job).status_code == 404
    assert not [path for path in (state_dir / "slides").rglob("*") if path.is_file()]


def test_use_postpones_the_expiry(
    client: TestClient, slide: str, tmp_path: Path, state_dir: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    age(state_dir / "slides", 170)
    assert client.get(f"{job}/results/tiles.csv").status_code == 200
    delete_expired(client)
    assert client.get(f"{job}/results/tiles.csv").status_code == 200


def test_slide_of_a_waiting_job_is_kept(client: TestClient, slide: str, state_dir: Path) -> None:
    client.post(f"{slide}/jobs")
    age(state_dir / "slides", 170)
    delete_expired(client)
    assert client.get(slide).status_code == 200
