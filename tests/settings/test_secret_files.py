"""Settings read from files, as Docker and Kubernetes mount secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.core.errors import SettingsError
from app.settings import read_settings

TOKEN = "a token of thirty-two characters"


@pytest.fixture
def secrets_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("app.settings.reading.SECRETS_DIR", tmp_path)
    return tmp_path


def admin_token() -> str | None:
    token = read_settings().admin_token
    return None if token is None else token.get_secret_value()


def test_secret_is_read_from_its_file(secrets_dir: Path) -> None:
    (secrets_dir / "osteo_admin_token").write_text(f"{TOKEN}\n")
    assert admin_token() == TOKEN


def test_variable_takes_precedence_over_the_file(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets_dir / "osteo_admin_token").write_text("x" * 32)
    monkeypatch.setenv("OSTEO_ADMIN_TOKEN", TOKEN)
    assert admin_token() == TOKEN


def test_file_mounted_as_a_link_is_read(secrets_dir: Path) -> None:
    """Kubernetes links each file to a folder that it can replace at once."""
    (secrets_dir / "..data").mkdir()
    (secrets_dir / "..data" / "osteo_admin_token").write_text(TOKEN)
    (secrets_dir / "osteo_admin_token").symlink_to("..data/osteo_admin_token")
    assert admin_token() == TOKEN


def test_missing_folder_and_other_files_are_ignored(
    secrets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (secrets_dir / "database_password").write_text("another service's")
    assert admin_token() is None
    monkeypatch.setattr("app.settings.reading.SECRETS_DIR", secrets_dir / "absent")
    assert admin_token() is None


def test_misspelt_file_is_an_error(secrets_dir: Path) -> None:
    (secrets_dir / "osteo_admin_tokn").write_text(TOKEN)
    with pytest.raises(SettingsError, match=r"osteo_admin_tokn is not a setting\. Did you mean"):
        read_settings()


@pytest.mark.parametrize("content", ["", "short"])
def test_short_secret_is_an_error_that_does_not_show_it(secrets_dir: Path, content: str) -> None:
    (secrets_dir / "osteo_admin_token").write_text(content)
    with pytest.raises(SettingsError, match="OSTEO_ADMIN_TOKEN") as caught:
        read_settings()
    assert "short (" not in str(caught.value)


def test_unreadable_file_is_an_error(secrets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = secrets_dir / "osteo_admin_token"
    file.write_text(TOKEN)

    def refuse(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        SettingsError, match=r"\"admin_token\".*Permission denied: .*osteo_admin_token"
    ):
        read_settings()
