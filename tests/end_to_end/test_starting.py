"""Nobody opens a service by accident, and no service starts that could not record its answers."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.access.keys import bearer
from tests.end_to_end.exchanges import exchange, request
from tests.end_to_end.services import audited, ready_service, run_osteo
from tests.servers import RunningServer, wait_until

ALL_ADDRESSES = {"OSTEO_HOST": "0.0.0.0"}  # noqa: S104 - what must not be open by accident
SECRET = "a-long-secret-of-tests"
WAYS = (
    "osteo keys create NAME --scope classify",
    "OSTEO_OIDC_ISSUER and OSTEO_OIDC_AUDIENCE",
    "OSTEO_TLS_CLIENT_CA",
    "OSTEO_AUTH=none lets everybody call",
)


def serve(folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `osteo serve` where it ends by itself."""
    return run_osteo(folder, "serve", "--port", "0", **environ)


def sentences(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What was said to the operator; the log lines are JSON."""
    return [line for line in done.stderr.splitlines() if not line.startswith("{")]


def test_service_for_other_machines_does_not_start_without_a_caller(tmp_path: Path) -> None:
    done = serve(tmp_path, **ALL_ADDRESSES)
    assert done.returncode == 2
    (sentence,) = sentences(done)
    for way in WAYS:
        assert way in sentence
    assert "0.0.0.0" in sentence  # noqa: S104 - the address that was refused


@pytest.mark.parametrize("setting", ["OSTEO_ADMIN_TOKEN", "OSTEO_TLS_CERTIFICATE"])
def test_admin_token_or_certificate_of_the_server_name_no_caller(
    tmp_path: Path, setting: str
) -> None:
    environ = {setting: SECRET}
    if setting == "OSTEO_TLS_CERTIFICATE":
        environ["OSTEO_TLS_KEY"] = "key.pem"
    done = serve(tmp_path, **ALL_ADDRESSES, **environ)
    assert done.returncode == 2
    assert WAYS[0] in done.stderr


@pytest.mark.parametrize(
    "environ",
    [
        {"OSTEO_API_KEY": SECRET},
        {"OSTEO_OIDC_ISSUER": "https://idp.example", "OSTEO_OIDC_AUDIENCE": "tiles"},
    ],
    ids=["key", "provider"],
)
def test_service_that_is_open_and_has_callers_does_not_start(
    tmp_path: Path, environ: dict[str, str]
) -> None:
    done = serve(tmp_path, OSTEO_AUTH="none", **environ)
    assert done.returncode == 2
    (sentence,) = sentences(done)
    assert "OSTEO_AUTH=none lets everybody call, but" in sentence


@contextmanager
def reachable_service(folder: Path, **environ: str) -> Iterator[RunningServer]:
    """A service on every address of this machine."""
    with ready_service(folder, **ALL_ADDRESSES, **environ) as server:
        yield server


def test_service_that_is_to_be_open_says_so(tmp_path: Path) -> None:
    with reachable_service(tmp_path, OSTEO_AUTH="none", OSTEO_AUDIT="off") as server:
        assert exchange(server, request("/v1/classify")).status == 200
        assert server.metric("osteo_access_open") == 1
        rollback = exchange(server, request("/v1/models/rollback", body=b""))
        assert rollback.status == 401, "the model is not for everybody"
        (event,) = [e for e in server.events() if e["event"] == "open_to_everybody"]
    assert (event["level"], event["host"]) == ("WARNING", "0.0.0.0")  # noqa: S104 - as given


def test_first_key_is_printed_once_and_works(tmp_path: Path) -> None:
    environ = {"OSTEO_CREATE_FIRST_KEY": "1"}
    with reachable_service(tmp_path, **environ) as server:
        text = (tmp_path / "serve.log").read_text()
        (key,) = [line.strip() for line in text.splitlines() if line.strip().startswith("osteo_")]
        assert text.count(key.split("_", 2)[2]) == 1
        assert exchange(server, request("/v1/classify", bearer(key))).status == 200
        assert exchange(server, request("/v1/classify")).status == 401
        assert server.stop() == 0
    with reachable_service(tmp_path, **environ) as server:
        assert exchange(server, request("/v1/classify", bearer(key))).status == 200
        assert server.stop() == 0
    second = (tmp_path / "serve.log").read_text()
    assert "first API key" not in second
    assert "osteo_" not in second.replace("osteo_tiles", "")
    (change,) = [r for r in audited(tmp_path, **environ) if r["event"] == "key-change"]
    assert change["details"]["action"] == "create"


def test_required_audit_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    places = {
        "a file as folder": f"sqlite:///{tmp_path}/file/audit.sqlite3",
        "no server": "postgresql+psycopg://osteo:hidden-password@127.0.0.1:9/osteo",
        "unknown database": "nonsense://osteo:hidden-password@db/osteo",
        "odd port": "postgresql+psycopg://osteo:hidden/password@db:x/osteo",
    }
    for name, url in places.items():
        done = serve(tmp_path, OSTEO_AUDIT="required", OSTEO_AUDIT_URL=url)
        assert done.returncode == 2, name
        assert len(sentences(done)) == 1, sentences(done)
        assert "hidden" not in done.stdout + done.stderr, name
        assert "Traceback" not in done.stderr, name


def test_audit_that_is_on_starts_without_its_database(tmp_path: Path) -> None:
    url = "postgresql+psycopg://osteo:hidden-password@127.0.0.1:9/osteo"
    with ready_service(tmp_path, OSTEO_AUDIT="on", OSTEO_AUDIT_URL=url) as server:
        assert exchange(server, request("/v1/classify")).status == 200
        wait_until(lambda: server.metric("osteo_audit_failing") == 1)
        assert "hidden" not in (tmp_path / "serve.log").read_text()
