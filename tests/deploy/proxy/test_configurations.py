"""What the shipped configurations do with TLS, addresses and state, and the unit of systemd."""

from __future__ import annotations

import json
import os
import re
import shutil
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.conftest import REPOSITORY
from tests.deploy.proxy.failing_replicas import failing_replicas
from tests.deploy.proxy.replicas import ReplicatedService
from tests.server.connections import statuses
from tests.server.ingresses import PROGRAMS, Ingress, ingress, shipped_configuration
from tests.servers import running_server, wait_until


@pytest.fixture(params=PROGRAMS)
def proxy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ingress]:
    """An ingress whose replicas answer 503."""
    with (
        failing_replicas() as (addresses, _),
        ingress(request.param, tmp_path, addresses) as proxy,
    ):
        yield proxy


def test_tls_is_1_2_or_newer(proxy: Ingress) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        proxy.trust.minimum_version = proxy.trust.maximum_version = version
        with proxy.connect():
            pass
    proxy.trust.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        proxy.trust.minimum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        proxy.trust.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"):
        proxy.connect()


def test_http_2_is_offered(proxy: Ingress) -> None:
    proxy.trust.set_alpn_protocols(["h2", "http/1.1"])
    with proxy.connect() as connection:
        assert connection.selected_alpn_protocol() == "h2"


def test_hsts_is_added(proxy: Ingress) -> None:
    with proxy.client() as client:
        for method in ("GET", "DELETE"):
            answer = client.request(method, "/v1/jobs/1")
            assert "max-age" in answer.headers["Strict-Transport-Security"]


def test_metrics_are_not_shown_however_their_path_is_written(proxy: Ingress) -> None:
    paths = ("/metrics", "/metrics/", "/metrics?x=1", "/%6detrics", "/metrics%2f", "/%6Detrics%2F")
    for path in paths:
        for method in ("GET", "DELETE"):
            with proxy.connect() as connection:
                connection.sendall(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
                assert statuses(connection.recv(65_536)) == [404], f"{method} {path}"


@pytest.mark.parametrize("program", PROGRAMS)
def test_address_of_the_client_is_logged_with_the_id_and_cannot_be_forged(
    program: str, tmp_path: Path
) -> None:
    with (
        failing_replicas() as (addresses, seen),
        ingress(program, tmp_path, addresses) as proxy,
        proxy.client() as client,
    ):
        client.get("/v1/models?name=S-12345", headers={"X-Forwarded-For": "192.0.2.1"})
        assert {forwarded for _, forwarded in seen} == {"127.0.0.1"}
        wait_until(lambda: "of-the-replica" in proxy.log_file.read_text())
    lines = proxy.log_file.read_text().splitlines()
    (entry,) = (json.loads(line) for line in lines if "of-the-replica" in line)
    assert entry["client"] == "127.0.0.1"
    assert entry["path"] == "/v1/models"
    assert entry["request_id"] == "of-the-replica"


@pytest.mark.parametrize("program", PROGRAMS)
def test_replicas_of_the_unit_share_uploads_and_have_audits_of_their_own(
    program: str, tmp_path: Path
) -> None:
    unit = shipped_configuration("systemd").replace("/var/lib/osteo", str(tmp_path / "state"))
    settings: Any = dict(re.findall(r"^Environment=(\w+)=(.*)$", unit, re.M))
    with (
        ReplicatedService(program, tmp_path, **settings) as service,
        service.ingress.client() as client,
    ):
        begun = client.post("/v1/uploads", headers={"Upload-Length": "4000"}).json()
        path = f"/v1/uploads/{begun['id']}"
        for n_sent in range(0, 4000, 1000):  # the replicas get requests in turn
            headers = {"Upload-Offset": str(n_sent), "Tus-Resumable": "1.0.0"}
            headers["Content-Type"] = "application/offset+octet-stream"
            answer = client.patch(path, content=bytes(1000), headers=headers)
            assert answer.status_code == 204, answer.text
        for replica in service.replicas:
            assert replica.server is not None
            url = f"{replica.server.url}{path}"
            assert httpx2.get(url, timeout=60).json()["offset"] == 4000
            audit = tmp_path / "state" / f"audit-{replica.address[1]}.sqlite3"
            assert audit.is_file()


@pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("REQUIRE_CLIENT_TOOLS"),
    reason="install systemd: there is no systemd-analyze",
)
def test_systemd_accepts_the_unit(tmp_path: Path) -> None:
    unit = tmp_path / "osteo@8001.service"
    text = shipped_configuration("systemd")
    unit.write_text(text.replace("/opt/osteo/current/.venv/bin/osteo", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")


def test_start_of_the_unit_is_over_when_the_replica_is_ready(tmp_path: Path) -> None:
    found = re.search(r"^ExecStartPost=/bin/sh -c '(.*)'$", shipped_configuration("systemd"), re.M)
    assert found
    wait = found[1].replace(".venv/bin/python", sys.executable).removesuffix("; sleep 3")
    with running_server(tmp_path) as server:
        environ = {"OSTEO_PORT": str(server.address[1]), "PATH": "/usr/bin:/bin"}
        subprocess.run(["/bin/sh", "-c", wait], cwd=REPOSITORY, env=environ, check=True)
        assert server.client.get(f"{server.url}/readyz").status_code == 200
