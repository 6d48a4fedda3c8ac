"""A real service raises the alerts on what expires soon and on a store of slides that is full."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from app.access.caller import OPEN_SCOPES
from app.access.key_changes import create_key
from benchmarks.dashboard.prometheus import Prometheus, running_prometheus
from tests.access.keys import bearer
from tests.authorities import Authority
from tests.deploy.monitoring.programs import find_program
from tests.servers import RunningServer, running_server, wait_until

pytestmark = pytest.mark.exhaustive
EXPIRING = {"OsteoCertificateExpires", "OsteoCertificateExpiresSoon", "OsteoKeyExpires"}
FULL = "OsteoSlidesFull"
REFUSED = 'osteo_request_problems_total{problem="slides-full"}'


@pytest.fixture(scope="module")
def watched(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[RunningServer, Prometheus]]:
    """A service over TLS with room for 1,000 bytes of slides, and the Prometheus that watches it.

    Its certificate expires in two days and its key in ten.
    """
    find_program("prometheus")
    folder = tmp_path_factory.mktemp("watched")
    authority = Authority(folder, "authority")
    issued = authority.issue("server", days=2)
    in_ten_days = datetime.now(UTC) + timedelta(days=10)
    key = create_key(folder / "keys.json", "lis", OPEN_SCOPES, in_ten_days).key
    settings = {
        "OSTEO_TLS_CERTIFICATE": str(issued.certificate),
        "OSTEO_TLS_KEY": str(issued.key),
        "OSTEO_KEYS_FILE": str(folder / "keys.json"),
        "OSTEO_STATE_DIR": str(folder / "state"),
        "OSTEO_METRICS_OPEN": "true",
        "OSTEO_SLIDES_QUOTA_BYTES": "1000",
    }
    over_tls = f"    scheme: https\n    tls_config: {{ca_file: {authority.certificate}}}\n"
    with running_server(folder, authority.trust(), **settings) as server:
        server.wait_until_ready()
        server.client.headers.update(bearer(key))
        target = server.url.partition("://")[2]
        with running_prometheus(folder, target, interval_s=1, job=over_tls) as prometheus:
            yield server, prometheus


def firing(prometheus: Prometheus) -> set[str]:
    """Names of the alerts that fire."""
    return {s.labels["alertname"] for s in prometheus.now('ALERTS{alertstate="firing"}')}


def test_certificate_and_key_that_expire_raise_alerts(
    watched: tuple[RunningServer, Prometheus],
) -> None:
    _, prometheus = watched
    wait_until(lambda: firing(prometheus) - {FULL} == EXPIRING)


def test_the_first_refused_upload_raises_the_alert(
    watched: tuple[RunningServer, Prometheus],
) -> None:
    server, prometheus = watched
    wait_until(lambda: bool(prometheus.now("osteo_ready == 1")))
    assert FULL not in firing(prometheus)
    upload = {"Tus-Resumable": "1.0.0", "Upload-Length": "1001"}
    answer = server.client.post(f"{server.url}/v1/uploads", headers=upload, timeout=60)
    assert answer.status_code == 507
    wait_until(lambda: bool(prometheus.now(f"{REFUSED} == 1")))
    wait_until(lambda: FULL in firing(prometheus))
