from __future__ import annotations

from pathlib import Path

import pytest

from app.access.caller import ANONYMOUS, Scope
from app.access.opening import open_access, open_first_key
from app.audit.command_records import record_key_change
from app.core.errors import SettingsError
from app.settings import Settings
from tests.access.keys import make_key


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A state folder that this user may not enter; for root it is one whose name is too long."""

    def exists(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", exists)
    return Settings(state_dir=tmp_path / ("x" * 300), create_first_key=True, host="0.0.0.0")  # noqa: S104


def test_open_access_says_which_file_of_keys_cannot_be_read(locked: Settings) -> None:
    with pytest.raises(SettingsError, match=r"keys\.json cannot be read: File name too long\. Let"):
        open_access(locked)


def test_open_first_key_makes_no_key_if_there_may_be_some(locked: Settings) -> None:
    assert open_first_key(locked, lambda change: change) is None


def test_change_of_a_key_is_one_sentence_if_the_audit_cannot_be_reached(locked: Settings) -> None:
    on_loopback = locked.model_copy(update={"host": "127.0.0.1"})
    with pytest.raises(SettingsError, match="The change cannot be recorded"):
        record_key_change(on_loopback, {"key_name": "lis"})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "tiles.hospital.example"])  # noqa: S104
def test_open_access_refuses_other_machines_and_says_three_ways(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError) as refused:
        open_access(Settings(state_dir=tmp_path, host=host))
    for way in ("osteo keys create", "OSTEO_OIDC_ISSUER", "OSTEO_TLS_CLIENT_CA", "OSTEO_AUTH=none"):
        assert way in str(refused.value)


@pytest.mark.parametrize(("host", "level"), [("0.0.0.0", "WARNING"), ("127.0.0.1", "INFO")])  # noqa: S104
def test_open_access_says_that_everybody_may_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, level: str
) -> None:
    caplog.set_level("INFO")
    assert not open_access(Settings(state_dir=tmp_path, host=host, auth="none")).is_required
    assert [(r.message, r.levelname) for r in caplog.records] == [("open_to_everybody", level)]


def test_open_access_refuses_auth_none_beside_keys(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Remove one or the other"):
        open_access(Settings(state_dir=tmp_path, auth="none", api_key="a-long-secret-of-tests"))


def test_service_that_started_open_stays_open(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    opened = open_access(settings)
    make_key(tmp_path / "keys.json", "lis")
    assert opened.identify(None, None, Scope.CLASSIFY) == ANONYMOUS
    assert open_access(settings).is_required
