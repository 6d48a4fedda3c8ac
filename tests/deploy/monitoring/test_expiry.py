"""A real service over TLS whose certificate and key expire soon raises the alerts on them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.access.caller import OPEN_SCOPES
from app.access.key_changes import create_key
from benchmarks.dashboard.prometheus import running_prometheus
from tests.authorities import Authority
from tests.deploy.monitoring.programs import find_program
from tests.servers import running_server, wait_until

FIRING = 'ALERTS{alertstate="firing"}'


def test_certificate_and_key_that_expire_raise_alerts(tmp_path: Path) -> None:
    find_program("prometheus")
    authority = Authority(tmp_path, "authority")
    issued = authority.issue("server", days=2)
    in_ten_days = datetime.now(UTC) + timedelta(days=10)
    create_key(tmp_path / "keys.json", "lis", OPEN_SCOPES, in_ten_days)
    settings = {
        "OSTEO_TLS_CERTIFICATE": str(issued.certificate),
        "OSTEO_TLS_KEY": str(issued.key),
        "OSTEO_KEYS_FILE": str(tmp_path / "keys.json"),
        "OSTEO_STATE_DIR": str(tmp_path / "state"),
        "OSTEO_METRICS_OPEN": "true",
    }
    over_tls = f"    scheme: https\n    tls_config: {{ca_file: {authority.certificate}}}\n"
    with running_server(tmp_path, authority.trust(), **settings) as server:
        server.wait_until_ready()
        target = server.url.partition("://")[2]
        with running_prometheus(tmp_path, target, interval_s=1, job=over_tls) as prometheus:
            expected = {
                "OsteoCertificateExpires",
                "OsteoCertificateExpiresSoon",
                "OsteoKeyExpires",
            }
            wait_until(lambda: {s.labels["alertname"] for s in prometheus.now(FIRING)} == expected)
