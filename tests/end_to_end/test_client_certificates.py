"""Client certificates as callers of a real service."""

from __future__ import annotations

import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests.authorities import CLIENT_NAME, CLIENT_SUBJECT, Authority
from tests.conftest import REPOSITORY
from tests.end_to_end.exchanges import connect, exchange, receive, request
from tests.end_to_end.services import audited, ready_service, run_osteo
from tests.servers import RunningServer, wait_until

ROBOT = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "robot")])


@dataclass(frozen=True)
class Service:
    """A service that asks for certificates, and clients with and without one."""

    server: RunningServer
    folder: Path
    environ: dict[str, str]
    lis: ssl.SSLContext
    robot: ssl.SSLContext
    nobody: ssl.SSLContext

    def status(
        self, client: ssl.SSLContext, path: str = "/v1/classify", request_id: str = "x"
    ) -> int:
        sent = request(path, {"X-Request-ID": request_id})
        return exchange(self.server, sent, tls=client).status

    def logged(self, request_id: str) -> dict[str, object]:
        """The log line of a request, which comes after its answer."""
        found: list[dict[str, object]] = []

        def is_there() -> bool:
            events = self.server.events()
            found.extend(event for event in events if event.get("request_id") == request_id)
            return bool(found)

        wait_until(is_there)
        return found[0]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("mutual")
    authority = Authority(folder, "hospital")
    issued = authority.issue("server")
    environ = {
        "OSTEO_AUDIT": "required",
        "OSTEO_TLS_CERTIFICATE": str(issued.certificate),
        "OSTEO_TLS_KEY": str(issued.key),
        "OSTEO_TLS_CLIENT_CA": str(authority.certificate),
        "OSTEO_TLS_CLIENT_SCOPES": "classify",
    }
    nobody = authority.trust()
    with ready_service(folder, nobody, **environ) as server:
        lis = authority.trust(authority.issue("lis", CLIENT_NAME))
        robot = authority.trust(authority.issue("robot", ROBOT))
        yield Service(server, folder, environ, lis, robot, nobody)


def test_subject_is_the_caller_in_log_and_audit(service: Service) -> None:
    assert service.status(service.lis, request_id="by-certificate") == 200
    assert service.logged("by-certificate")["caller"] == CLIENT_SUBJECT
    records = audited(service.folder, **service.environ)
    (record,) = [r for r in records if r.get("request_id") == "by-certificate"]
    assert (record["caller"], record["caller_kind"]) == (CLIENT_SUBJECT, "certificate")


def test_certificate_has_the_scopes_of_the_setting(service: Service) -> None:
    assert service.status(service.lis, "/v1/explain/grid") == 403
    assert service.status(service.lis, "/v1/models/rollback") == 403


def test_client_without_a_certificate_is_refused(service: Service) -> None:
    assert service.status(service.nobody) == 401


def test_probe_needs_no_certificate(service: Service) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "app.server.health"],
        cwd=REPOSITORY,
        env={**service.environ, "OSTEO_PORT": str(service.server.address[1])},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def test_key_that_names_the_subject_gives_its_scopes_and_can_be_revoked(service: Service) -> None:
    made = run_osteo(
        service.folder,
        *("keys", "create", "robot-1", "--scope", "explain", "--subject", "CN=robot"),
        **service.environ,
    )
    assert made.returncode == 0, made.stderr
    wait_until(lambda: service.status(service.robot, "/v1/explain/grid") == 200)
    assert service.status(service.robot, request_id="robot") == 403
    with connect(service.server, service.robot) as connection:
        connection.sendall(request("/v1/explain/grid"))
        assert receive(connection).status == 200
        revoked = run_osteo(service.folder, "keys", "revoke", "robot-1", **service.environ)
        assert revoked.returncode == 0, revoked.stderr
        wait_until(lambda: service.status(service.robot, "/v1/explain/grid") == 401)
        connection.sendall(request("/v1/explain/grid"))
        assert receive(connection).status == 401
    assert service.status(service.lis) == 200
    assert service.logged("robot")["caller"] == "robot-1"
    (file,) = service.folder.rglob("keys.json")
    file.unlink()
    read = {"event": "api_keys_read", "n_keys": 0}
    wait_until(
        lambda: (
            service.status(service.robot) == 401
            and any(event.items() >= read.items() for event in service.server.events())
        )
    )
    assert service.status(service.robot) == 401, "a removed file revives no certificate"


def test_wrong_key_does_not_fall_back_to_the_certificate(service: Service) -> None:
    sent = request("/v1/classify", {"X-API-Key": "osteo_00000000_" + "A" * 43})
    assert exchange(service.server, sent, tls=service.lis).status == 401
