"""The queue of slides in the metrics of a service that leaves them to workers elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import MakeClient
from tests.servers import wait_until
from tests.slides.drawn_slides import Drawing, draw_slide


def test_service_without_workers_shows_the_jobs_that_wait(
    make_slide_client: MakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.opening._WATCH_PERIOD_S", 0.05)
    client = make_slide_client()
    draw_slide(tmp_path / "slide.svs", Drawing(kind="svs", columns=2, rows=1, mpp=0.5))
    content = (tmp_path / "slide.svs").read_bytes()
    upload = client.put("/v1/uploads/slide.svs", content=content).json()["id"]
    slide = client.post("/v1/slides", json={"upload": upload}).headers["Location"]
    assert client.post(f"{slide}/jobs").status_code == 202
    waiting = 'osteo_slide_jobs{state="queued"} 1.0'
    wait_until(lambda: waiting in client.get("/metrics").text)
