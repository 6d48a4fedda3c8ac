"""A service that is killed while it works on a slide goes on by itself when it runs again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from app.jobs.records import JobState
from tests.jobs.slide_processes import (
    is_alive,
    n_committed,
    processes_in,
    stop_after_a_commit,
)
from tests.servers import RunningServer, running_server, wait_until
from tests.slides.drawn_slides import Drawing, draw_slide

COLUMNS, ROWS = 8, 6
WITHIN_S = 600.0


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    mount = tmp_path / "mount"
    mount.mkdir()
    draw_slide(mount / "drawn.tif", Drawing(columns=COLUMNS, rows=ROWS, tissue=1.0, mpp=2.0))
    return {
        "OSTEO_STATE_DIR": str(tmp_path / "state"),
        "OSTEO_SLIDE_MOUNTS": f"archive={mount}",
        "OSTEO_SLIDE_LEASE_S": "3",
        "OSTEO_SLIDE_THREADS": "1",
        "OSTEO_RUNTIME": "litert",
    }


def ask(server: RunningServer, method: str, path: str, **options: Any) -> dict[str, Any]:
    response = server.client.request(method, f"{server.url}{path}", timeout=WITHIN_S, **options)
    assert response.status_code < 300, response.text
    answer = response.json()
    assert isinstance(answer, dict)
    return answer


@pytest.mark.exhaustive
def test_killed_service_resumes_its_slide(tmp_path: Path, environ: dict[str, str]) -> None:
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        question = {"mount": "archive", "path": "drawn.tif"}
        slide = ask(server, "POST", "/v1/slides", json=question)
        job = ask(server, "POST", f"/v1/slides/{slide['id']}/jobs", json={})
        results = tmp_path / "state" / "slides" / "results" / job["id"]
        wait_until(lambda: bool(processes_in(results)), WITHIN_S)
        (process,) = processes_in(results)
        stop_after_a_commit(process, results)
        server.process.kill()
        wait_until(lambda: not is_alive(process))
    n_kept = n_committed(results)
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        path = f"/v1/jobs/{job['id']}"
        # Each request takes time from the process on the slide, which has the lowest priority.
        wait_until((results / "summary.json").exists, WITHIN_S)
        wait_until(lambda: ask(server, "GET", path)["state"] == JobState.SUCCEEDED, WITHIN_S)
        n_new = server.metric("osteo_slide_tiles_total")
        assert ask(server, "GET", path)["attempts"] == 2
    assert n_kept + n_new == COLUMNS * ROWS
