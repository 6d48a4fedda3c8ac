from __future__ import annotations

from pathlib import Path

import pytest

from app.access.opening import open_access, open_first_key
from app.audit.command_records import record_key_change
from app.core.errors import SettingsError
from app.settings import Settings


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
