"""Changes of keys are recorded, by any number of commands at once."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.access.caller import Scope
from app.audit.command_records import record_key_change
from app.audit.opening import audit_mode, chain_of, command_chain, make_store
from app.audit.verify import verify
from app.core.errors import SettingsError
from app.settings import Settings
from tests.audit.samples import stored, stored_events, write
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess

N_PROCESSES = 3
N_CHANGES = 5

PROGRAM = f"""
import sys
from app.audit.command_records import record_key_change
from app.settings import Settings
settings = Settings(audit="on", audit_url=sys.argv[1])
for number in range({N_CHANGES}):
    record_key_change(settings, {{"action": "create", "key_name": sys.argv[2] + str(number)}})
"""


@dataclass(frozen=True)
class Change:
    action: str
    key_name: str
    scopes: frozenset[Scope]
    expires_at: datetime | None
    old_until: datetime | None = None


CHANGE = Change(
    "create",
    "scanner",
    frozenset({Scope.EXPLAIN, Scope.CLASSIFY}),
    datetime(2027, 1, 1, tzinfo=UTC),
)


def settings(tmp_path: Path, **given: Any) -> Settings:
    return Settings(state_dir=tmp_path, **given)


def test_key_change_is_recorded(tmp_path: Path) -> None:
    head = record_key_change(settings(tmp_path, audit="on"), CHANGE)
    (document,) = stored(f"sqlite:///{tmp_path}/audit.sqlite3")
    assert head is not None
    assert document["event"] == "key-change"
    assert document["caller_kind"] == "command"
    assert document["caller"]
    assert document["chain"] == head.chain == command_chain()
    assert document["details"] == {
        "action": "create",
        "key_name": "scanner",
        "scopes": ["classify", "explain"],
        "expires_at": "2027-01-01T00:00:00.000000Z",
    }


def test_changes_of_several_processes_are_one_chain(url: str) -> None:
    write(url)  # creates the tables
    programs = [
        ForkedProcess([url, f"{name}-"], code=PROGRAM, cwd=REPOSITORY)
        for name in range(N_PROCESSES)
    ]
    assert [program.wait(timeout=300) for program in programs] == [0] * N_PROCESSES
    changes = [document for document in stored(url) if document["event"] == "key-change"]
    assert {change["chain"] for change in changes} == {command_chain()}
    assert len({change["details"]["key_name"] for change in changes}) == N_PROCESSES * N_CHANGES
    store = make_store(url)
    assert verify(store).findings == []
    store.close()


def test_nothing_is_recorded_if_the_audit_is_off(tmp_path: Path) -> None:
    write(f"sqlite:///{tmp_path}/kept/audit.sqlite3")
    for folder in (tmp_path / "kept", tmp_path / "new"):
        assert record_key_change(settings(folder, audit="off"), CHANGE) is None
    assert stored_events(f"sqlite:///{tmp_path}/kept/audit.sqlite3") == ["start", "stop"]
    assert not (tmp_path / "new").exists()


def test_change_is_recorded_before_there_is_an_audit(tmp_path: Path) -> None:
    assert record_key_change(settings(tmp_path), CHANGE) is not None
    url = f"sqlite:///{tmp_path}/audit.sqlite3"
    write(url, chain="a")  # the service, which starts later
    assert sorted(stored_events(url)) == ["key-change", "start", "stop"]


def test_change_without_the_packages_is_an_error_only_if_an_audit_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"sqlite:///{tmp_path}/kept/audit.sqlite3")
    monkeypatch.setitem(sys.modules, "sqlalchemy", None)
    monkeypatch.delitem(sys.modules, "app.audit.store")
    assert record_key_change(settings(tmp_path / "new"), CHANGE) is None
    for given in (
        settings(tmp_path / "kept"),
        settings(tmp_path / "new", audit="on"),
        settings(tmp_path / "new", host="192.0.2.7"),
    ):
        with pytest.raises(SettingsError, match="needs the package sqlalchemy"):
            record_key_change(given, CHANGE)


def test_change_that_cannot_be_recorded_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("no folder")
    with pytest.raises(SettingsError, match="cannot be recorded in the audit"):
        record_key_change(settings(tmp_path / "state", audit="on"), CHANGE)


@pytest.mark.parametrize(
    ("given", "mode"),
    [
        ({}, "off"),
        ({"host": "::1"}, "off"),
        ({"host": "localhost"}, "off"),
        ({"host": "192.0.2.7"}, "on"),
        ({"host": "osteo.example.org"}, "on"),
        ({"host": "192.0.2.7", "audit": "off"}, "off"),
        ({"audit": "required"}, "required"),
    ],
)
def test_audit_is_on_outside_the_loopback_address(given: dict[str, Any], mode: str) -> None:
    assert audit_mode(Settings(**given)) == mode


def test_chain_is_named_by_the_replica_or_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "lab pc/7")
    assert chain_of(Settings(replica="pod-0")) == "pod-0"
    assert chain_of(Settings()) == "lab-pc-7"
    assert command_chain() == "lab-pc-7-cli"


def test_missing_extra_is_named() -> None:
    program = (
        "import sys; sys.modules['sqlalchemy'] = None\n"
        "from app.cli.commands import app\n"
        "app(['audit', 'verify', '--url', 'sqlite:///a.sqlite3'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "pip install 'osteo-tiles[audit]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_command_line_starts_without_sqlalchemy() -> None:
    program = "import json, sys, app.cli.commands; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert "sqlalchemy" not in json.loads(done.stdout)
