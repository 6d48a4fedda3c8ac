"""The rendered Deployment with the component `traces`, run by Podman."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.authorities import Authority
from tests.deploy.kubernetes.pod import running_pod
from tests.end_to_end.exchanges import TILE
from tests.telemetry.collectors import collector

pytestmark = pytest.mark.exhaustive


def test_its_spans_reach_the_collector_with_the_token_of_the_secret(tmp_path: Path) -> None:
    certificate = Authority(tmp_path, "hospital").certificate.read_text()
    secret = {"headers": "authorization=Bearer%20t", "ca.pem": certificate}
    with collector(address="0.0.0.0") as found:  # noqa: S104 # a pod has an address of its own
        settings = [
            f"OSTEO_TRACES_URL=http://host.containers.internal:{urlsplit(found.url).port}",
            "OTEL_BSP_SCHEDULE_DELAY=20",
        ]
        with running_pod(tmp_path, "cpu", settings=settings, traces_secret=secret) as pod:
            assert pod.classify(TILE).status_code == 200
            assert found.where(lambda span: span.name == "POST /v1/classify")
            assert pod.exec("cat", "/etc/osteo-tiles-traces/ca.pem") == certificate
    assert found.headers[-1]["authorization"] == "Bearer t"
