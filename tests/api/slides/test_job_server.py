"""A job of a running service, from the upload to the report, through a kill of the service."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

from tests.servers import RunningServer, running_server, wait_until
from tests.slides.drawn_slides import Drawing, draw_slide

FINAL = {"succeeded", "failed", "cancelled"}


def get(server: RunningServer, path: str) -> Any:
    return server.client.get(server.url + path).json()


def test_job_goes_on_by_itself_after_the_service_was_killed(tmp_path: Path) -> None:
    file = tmp_path / "slide.tif"
    draw_slide(file, Drawing(columns=2, rows=1))
    environ = {"OSTEO_STATE_DIR": str(tmp_path / "state"), "OSTEO_SLIDE_LEASE_S": "2"}
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        uploads = f"{server.url}/v1/uploads/x"
        upload = server.client.put(uploads, content=file.read_bytes()).json()["id"]
        answer = server.client.post(f"{server.url}/v1/slides", json={"upload": upload})
        slide = answer.headers["Location"]
        job = server.client.post(f"{server.url}{slide}/jobs").headers["Location"]
        wait_until(lambda: get(server, job)["state"] != "queued")
        server.stop(signal.SIGKILL)
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        wait_until(lambda: get(server, job)["state"] in FINAL, timeout_s=300)
        done = get(server, job)
        assert (done["state"], done["failure"]) == ("succeeded", None)
        summary = get(server, done["results"]["summary.json"])
        assert summary["complete"]
        assert summary["sha256"] == slide.rsplit("/", 1)[1]
        report = server.client.get(server.url + done["results"]["report.html"]).text
        assert "Research use only" in report
        assert server.stop() == 0
