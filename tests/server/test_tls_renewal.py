"""`osteo serve` over TLS: certificates that are renewed while it runs."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from app.server.tls import TlsFiles
from tests.authorities import CLIENT_NAME, Authority, Issued
from tests.bundles import plain_tile
from tests.servers import RunningServer, running_server, serve_until_it_ends, wait_until

TILE = plain_tile((210, 120, 170))


class Site:
    """The files that a server reads, and the authority that its clients trust."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "hospital")
        self.files = TlsFiles(folder / "tls.crt", folder / "tls.key", folder / "clients.pem")
        self.install(self.authority.issue("first"))
        shutil.copy(self.authority.certificate, folder / "clients.pem")

    def install(self, issued: Issued) -> None:
        shutil.copy(issued.certificate, self.files.certificate)
        shutil.copy(issued.key, self.files.key)

    @property
    def settings(self) -> dict[str, str]:
        names = ("certificate", "key", "client_ca")
        return {f"OSTEO_TLS_{name.upper()}": str(getattr(self.files, name)) for name in names}


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@contextmanager
def serving_at(site: Site, folder: Path) -> Iterator[RunningServer]:
    settings = site.settings | {"OSTEO_METRICS_OPEN": "true"}
    with running_server(folder, site.authority.trust(), **settings) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def server(site: Site, tmp_path: Path) -> Iterator[RunningServer]:
    with serving_at(site, tmp_path) as server:
        yield server


@pytest.fixture(scope="module")
def lasting_site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """For tests that leave files which the server takes."""
    return Site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def lasting_server(
    lasting_site: Site, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningServer]:
    with serving_at(lasting_site, tmp_path_factory.mktemp("server")) as server:
        yield server


@contextmanager
def connect(
    server: RunningServer, context: ssl.SSLContext
) -> Iterator[http.client.HTTPSConnection]:
    connection = http.client.HTTPSConnection(*server.address, timeout=60, context=context)
    with closing(connection):
        connection.connect()
        yield connection


def serial_seen(connection: http.client.HTTPSConnection) -> str:
    assert isinstance(connection.sock, ssl.SSLSocket)
    certificate = connection.sock.getpeercert()
    assert certificate
    return str(certificate["serialNumber"])


def serial_of_new_connection(server: RunningServer, context: ssl.SSLContext) -> str:
    with connect(server, context) as connection:
        return serial_seen(connection)


def classify(connection: http.client.HTTPSConnection) -> int:
    connection.request("POST", "/v1/classify", TILE)
    answer = connection.getresponse()
    answer.read()
    return answer.status


def classify_once(server: RunningServer, context: ssl.SSLContext) -> int:
    with connect(server, context) as connection:
        return classify(connection)


def has_metric(server: RunningServer, name: str, expected: float) -> bool:
    return server.metric(name) == expected


def has_events(server: RunningServer, event: str, n_times: int = 1) -> bool:
    return sum(line["event"] == event for line in server.events()) == n_times


def test_tile_is_classified_with_curl_and_a_client_certificate(
    lasting_site: Site, lasting_server: RunningServer, tmp_path: Path
) -> None:
    client = lasting_site.authority.issue("client", CLIENT_NAME)
    (tmp_path / "tile.png").write_bytes(TILE)
    curl = shutil.which("curl")
    if curl is None:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail("curl is not installed")
        pytest.skip("curl is not installed")
    answer = subprocess.run(
        [curl, "-sS", "--tlsv1.3", "--cacert", lasting_site.authority.certificate, "--cert",
         client.certificate, "--key", client.key, "-F", f"file=@{tmp_path / 'tile.png'}",
         f"{lasting_server.url}/v1/classify"],
        capture_output=True,
        check=True,
    )  # fmt: skip
    assert json.loads(answer.stdout)["prediction"]


def test_metric_is_the_expiry_of_the_certificate_in_use(
    lasting_site: Site, lasting_server: RunningServer
) -> None:
    site, server = lasting_site, lasting_server
    name = "osteo_tls_certificate_expiry_timestamp_seconds"
    for days in (300, 10):
        renewed = site.authority.issue("renewed", days=days)
        site.install(renewed)
        server.process.send_signal(signal.SIGHUP)
        expected = renewed.x509.not_valid_after_utc.timestamp()
        wait_until(partial(has_metric, server, name, expected))
        assert 0 < expected - datetime.now(UTC).timestamp() < days * 86_400


def test_renewal_during_a_stream_of_requests_loses_none(
    lasting_site: Site, lasting_server: RunningServer
) -> None:
    site, server = lasting_site, lasting_server
    trust = site.authority.trust(site.authority.issue("client", CLIENT_NAME))
    first, renewed = serial_of_new_connection(server, trust), site.authority.issue("renewed")
    statuses: list[int] = []
    is_over = threading.Event()

    def stream(n_requests: int) -> None:
        """Send requests over connections that carry so many each."""
        while not is_over.is_set():
            with connect(server, trust) as connection:
                statuses.extend(classify(connection) for _ in range(n_requests))

    streams = [threading.Thread(target=stream, args=[n]) for n in (1, 20)]
    with connect(server, trust) as lasting:
        for thread in streams:
            thread.start()
        wait_until(lambda: len(statuses) > 10)
        site.install(renewed)
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: serial_of_new_connection(server, trust) == renewed.serial)
        n_before = len(statuses)
        wait_until(lambda: len(statuses) > n_before + 10)
        is_over.set()
        for thread in streams:
            thread.join()
        assert set(statuses) == {200}
        assert classify(lasting) == 200
        assert serial_seen(lasting) == first != renewed.serial


def test_renewal_removes_an_authority_of_clients(
    site: Site, server: RunningServer, tmp_path: Path
) -> None:
    context = site.authority.trust(site.authority.issue("client", CLIENT_NAME))
    assert classify_once(server, context) == 200
    assert site.files.client_ca is not None
    shutil.copy(Authority(tmp_path, "other").certificate, site.files.client_ca)
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: has_events(server, "tls_renewed"))
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        classify_once(server, context)
    assert classify_once(server, site.authority.trust()) == 401


def test_broken_renewal_keeps_the_previous_files(
    lasting_site: Site, lasting_server: RunningServer
) -> None:
    site, server = lasting_site, lasting_server
    trust = site.authority.trust()
    before = serial_of_new_connection(server, trust)
    n_before = sum(line["event"] == "tls_not_renewed" for line in server.events())
    for n_broken, name in enumerate(("certificate", "key", "client_ca"), n_before + 1):
        path: Path = getattr(site.files, name)
        content = path.read_text()
        path.write_text(content[:100])
        server.process.send_signal(signal.SIGHUP)
        wait_until(partial(has_events, server, "tls_not_renewed", n_broken))
        assert serial_of_new_connection(server, trust) == before
        event = [line for line in server.events() if line["event"] == "tls_not_renewed"][-1]
        assert f"OSTEO_TLS_{name.upper()} ({path})" in str(event["reason"])
        assert event["level"] == "ERROR"
        path.write_text(content)


def test_nothing_of_a_key_is_logged(site: Site, server: RunningServer, tmp_path: Path) -> None:
    secrets = set(site.files.key.read_text().splitlines())
    classify_once(server, site.authority.trust(site.authority.issue("client", CLIENT_NAME)))
    site.files.key.write_text(site.files.key.read_text().replace("A", "B"))
    server.process.send_signal(signal.SIGHUP)
    wait_until(lambda: has_events(server, "tls_not_renewed"))
    assert server.stop() == 0
    log = (tmp_path / "serve.log").read_text()
    secrets |= set(site.files.key.read_text().splitlines())
    assert not [line for line in secrets if "PRIVATE KEY" not in line and line in log]
    assert "PRIVATE KEY" not in log


def test_sighup_without_tls_changes_nothing(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_until_ready()
        server.process.send_signal(signal.SIGHUP)
        wait_until(lambda: has_events(server, "nothing_to_reload"))
        assert server.client.get(f"{server.url}/readyz").status_code == 200
        assert server.metric("osteo_tls_certificate_expiry_timestamp_seconds") == 0
        assert server.stop() == 0


def test_expired_certificate_is_served_with_a_warning(site: Site, tmp_path: Path) -> None:
    site.install(site.authority.issue("expired", days=-3))
    trust = site.authority.trust()
    trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    with running_server(tmp_path, trust, **site.settings) as server:
        server.wait_until_ready()
        (event,) = [e for e in server.events() if e["event"] == "tls_certificate_expired"]
        assert event["file"] == str(site.files.certificate)


@pytest.mark.parametrize(
    "name",
    ["certificate", *(pytest.param(n, marks=pytest.mark.exhaustive) for n in ("key", "client_ca"))],
)
def test_missing_file_is_exit_code_1_and_is_named(site: Site, tmp_path: Path, name: str) -> None:
    path: Path = getattr(site.files, name)
    path.unlink()
    run = serve_until_it_ends(tmp_path, "--port", "0", **site.settings)
    assert run.returncode == 1
    event = json.loads(run.stderr.splitlines()[-1])
    assert event["event"] == "cannot_use_tls"
    assert f"OSTEO_TLS_{name.upper()} ({path})" in event["reason"]
    assert "Traceback" not in run.stderr
