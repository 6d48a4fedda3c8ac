"""The file of keys changes while a service runs: rightly, and by accident."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.access.caller import Scope
from tests.access.keys import bearer, make_key
from tests.end_to_end.exchanges import connect, exchange, receive, request
from tests.end_to_end.services import ready_service, run_osteo
from tests.servers import RunningServer, wait_until


@dataclass(frozen=True)
class Service:
    """A service, its folder, and the headers of a caller whose key stays."""

    server: RunningServer
    folder: Path
    lis: dict[str, str]

    @property
    def keys_file(self) -> Path:
        return self.folder / "state" / "keys.json"

    def status(self, headers: dict[str, str]) -> int:
        return exchange(self.server, request("/v1/classify", headers)).status

    def n_logged(self, event: str) -> int:
        return sum(logged["event"] == event for logged in self.server.events())


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("changed")
    lis = make_key(folder / "state" / "keys.json", "lis", Scope.CLASSIFY)
    with ready_service(folder, OSTEO_AUDIT="off") as server:
        yield Service(server, folder, lis)


@pytest.fixture
def service(running: Service, tmp_path: Path) -> Iterator[Service]:
    """The service; afterwards its file of keys is as it was."""
    copy = tmp_path / "keys.json"
    shutil.copy(running.keys_file, copy)
    yield running
    shutil.copy(copy, running.keys_file)
    wait_until(lambda: running.status(running.lis) == 200)


def create(service: Service, name: str) -> dict[str, str]:
    done = run_osteo(service.folder, "keys", "create", name, "--scope", "classify")
    assert done.returncode == 0, done.stderr
    return bearer(done.stdout.strip())


def test_key_made_and_revoked_by_commands_counts_on_an_open_connection(service: Service) -> None:
    created = create(service, "visitor")
    wait_until(lambda: service.status(created) == 200)
    with connect(service.server) as connection:

        def status() -> int:
            connection.sendall(request("/v1/classify", created))
            return receive(connection).status

        assert status() == 200
        assert run_osteo(service.folder, "keys", "revoke", "visitor").returncode == 0
        wait_until(lambda: status() == 401)
        connection.sendall(request("/v1/classify", service.lis))
        assert receive(connection).status == 200


def test_rotated_key_and_its_successor_are_valid_together(service: Service) -> None:
    old = create(service, "rotating")
    done = run_osteo(service.folder, "keys", "rotate", "rotating")
    new = bearer(done.stdout.strip())
    wait_until(lambda: service.status(new) == 200)
    assert service.status(old) == 200
    done = run_osteo(service.folder, "keys", "rotate", "rotating", "--overlap", "0h")
    wait_until(lambda: service.status(bearer(done.stdout.strip())) == 200)
    assert service.status(new) == 401
    assert service.status(old) == 401


def garbage(file: Path) -> None:
    file.write_bytes(b'{"schema_version":1,"keys":[{"sha256":"SECRET-OF-THE-FILE"')


def empty(file: Path) -> None:
    file.write_bytes(b"")


def unreadable(file: Path) -> None:
    file.unlink()
    file.mkdir()


@pytest.mark.parametrize("damage", [garbage, empty, unreadable])
def test_damaged_file_changes_nothing_and_is_logged_once(
    service: Service, damage: Callable[[Path], None]
) -> None:
    n_before = service.n_logged("api_keys_invalid")
    damage(service.keys_file)
    try:
        wait_until(
            lambda: (
                service.status(service.lis) == 200
                and service.n_logged("api_keys_invalid") > n_before
            )
        )
        assert service.status(service.lis) == 200
        assert service.n_logged("api_keys_invalid") == n_before + 1
        assert "SECRET-OF-THE-FILE" not in (service.folder / "serve.log").read_text()
        assert service.status({}) == 401
    finally:
        if service.keys_file.is_dir():
            service.keys_file.rmdir()


def test_removed_file_leaves_no_keys_and_opens_nothing(service: Service) -> None:
    service.keys_file.unlink()
    wait_until(lambda: service.status(service.lis) == 401)
    assert service.status({}) == 401
    assert service.server.client.get(f"{service.server.url}/readyz").status_code == 200


def test_failures_of_many_addresses_delay_no_right_key(service: Service) -> None:
    for number in range(300):
        assert service.status(bearer(f"osteo_{number:08x}_{'A' * 43}")) == 401
    assert service.status(service.lis) == 200
