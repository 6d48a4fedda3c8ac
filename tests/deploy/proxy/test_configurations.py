"""What the shipped configurations do with TLS, paths and addresses."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.proxy.failing_replicas import failing_replicas
from tests.server.connections import statuses
from tests.server.ingresses import PROGRAMS, Ingress, ingress
from tests.servers import wait_until


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
