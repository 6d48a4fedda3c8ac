"""Prometheus and Alertmanager tell a webhook that a real service has stopped."""

from __future__ import annotations

import http.server
import json
import os
import queue
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.dashboard.panels import MONITORING_DIR
from benchmarks.dashboard.prometheus import running_alertmanager, running_prometheus
from tests.contract.pages import code_blocks
from tests.contract.test_container import SERVICES
from tests.deploy.monitoring.programs import find_program, run_program
from tests.servers import running_server, wait_until

DOCUMENTED_URL = "https://pager.hospital.example/osteo"
HEARTBEAT_URL = "https://heartbeat.hospital.example/osteo"
Messages = queue.Queue[dict[str, Any]]


@pytest.fixture
def pager() -> Iterator[tuple[str, Messages]]:
    """A web server that keeps what it is told by POST or GET; its URL and the messages."""
    messages: Messages = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            messages.put(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def do_GET(self) -> None:  # the library's name
            messages.put({"path": self.path})
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/osteo", messages
        server.shutdown()
        thread.join()


def quick(text: str) -> str:
    """A configuration or rules with waits of a second, so that a test need not wait minutes."""
    return re.sub(r"\b(for|group_wait|group_interval): \w+", r"\1: 1s", text)


def wait_for_alert(name: str, messages: Messages) -> dict[str, Any]:
    """The first alert of a name; others, such as that of a drain, may come before it."""
    while True:
        for alert in messages.get(timeout=120)["alerts"]:
            if alert["labels"]["alertname"] == name:
                found: dict[str, Any] = alert
                return found


def test_a_stopped_service_is_told_to_the_receiver_of_the_guide(
    pager: tuple[str, Messages], tmp_path: Path
) -> None:
    for program in ("prometheus", "prometheus-alertmanager"):
        find_program(program)
    url, messages = pager
    (documented,) = (b for b in code_blocks("docs/monitoring.md", "yaml") if DOCUMENTED_URL in b)
    configuration = quick(documented.replace(DOCUMENTED_URL, url))
    rules = quick((MONITORING_DIR / "alerts.yml").read_text())
    with (
        running_server(tmp_path, OSTEO_STATE_DIR=str(tmp_path / "state")) as server,
        running_alertmanager(tmp_path, configuration) as alertmanager,
        running_prometheus(
            tmp_path,
            server.url.partition("://")[2],
            interval_s=1,
            rules=rules,
            alertmanager=alertmanager.partition("://")[2],
        ) as prometheus,
    ):
        _, program, *arguments = SERVICES["alertmanager"]["healthcheck"]["test"]
        run_program(program, *(a.replace("http://127.0.0.1:9093", alertmanager) for a in arguments))
        server.wait_until_ready()
        wait_until(lambda: bool(prometheus.now("osteo_ready == 1")))
        assert server.stop() == 0
        alert = wait_for_alert("OsteoDown", messages)
    assert alert["status"] == "firing"
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["instance"] in alert["annotations"]["summary"]
    assert alert["annotations"]["runbook_url"] == "docs/monitoring.md#alert-osteodown"


def test_the_heartbeat_of_the_guide_stops_with_prometheus_or_alertmanager(
    pager: tuple[str, Messages], tmp_path: Path
) -> None:
    for program in ("prometheus", "prometheus-alertmanager"):
        find_program(program)
    if shutil.which("curl") is None:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    url, messages = pager
    (line,) = (block for block in code_blocks("docs/monitoring.md", "") if HEARTBEAT_URL in block)
    job = line.removeprefix("*/5 * * * * ").replace(HEARTBEAT_URL, url)
    configuration = (MONITORING_DIR / "alertmanager.yml").read_text()

    def run_job() -> int:
        replaced = job.replace("http://127.0.0.1:9090", prometheus.url)
        replaced = replaced.replace("http://127.0.0.1:9093", alertmanager)
        return subprocess.run(["/bin/sh", "-c", replaced], check=False, timeout=120).returncode

    with running_prometheus(tmp_path, "127.0.0.1:9", interval_s=1) as prometheus:
        with running_alertmanager(tmp_path, configuration) as alertmanager:
            assert run_job() == 0
            assert messages.get(timeout=60) == {"path": "/osteo"}
        assert run_job() != 0
    with running_alertmanager(tmp_path, configuration) as alertmanager:
        assert run_job() != 0
    assert messages.empty()
