"""One upload that is refused for lack of room raises the alert on it."""

from __future__ import annotations

from pathlib import Path

from benchmarks.dashboard.prometheus import running_prometheus
from tests.deploy.monitoring.programs import find_program
from tests.servers import running_server, wait_until

SERIES = 'osteo_request_problems_total{problem="slides-full"}'
ALERT = 'ALERTS{alertname="OsteoSlidesFull", alertstate="firing"}'


def test_the_first_refused_upload_raises_the_alert(tmp_path: Path) -> None:
    find_program("prometheus")
    with running_server(
        tmp_path, OSTEO_STATE_DIR=str(tmp_path / "state"), OSTEO_SLIDES_QUOTA_BYTES="1000"
    ) as server:
        server.wait_until_ready()
        target = server.url.partition("://")[2]
        with running_prometheus(tmp_path, target, interval_s=1) as prometheus:
            wait_until(lambda: bool(prometheus.now("osteo_ready == 1")))
            upload = {"Tus-Resumable": "1.0.0", "Upload-Length": "1001"}
            answer = server.client.post(f"{server.url}/v1/uploads", headers=upload, timeout=60)
            assert answer.status_code == 507
            wait_until(lambda: bool(prometheus.now(f"{SERIES} == 1")))
            wait_until(lambda: bool(prometheus.now(ALERT)))
