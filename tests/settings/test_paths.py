from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from app.core.errors import SettingsError
from app.settings import PREFIX, Settings, read_settings

KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEG\n-----END PRIVATE KEY-----\n"


def is_path(annotation: Any) -> bool:
    return (
        annotation is Path
        or Path in get_args(annotation)
        or any(map(is_path, get_args(annotation)))
    )


PATHS = [name for name, field in Settings.model_fields.items() if is_path(field.annotation)]


def test_paths_are_found() -> None:
    assert {"models_dir", "state_dir", "keys_file", "tls_certificate", "tls_key"} <= set(PATHS)


@pytest.mark.parametrize("content", [KEY, KEY.replace("\n", " "), "{\n}"])
@pytest.mark.parametrize("name", PATHS)
def test_content_of_a_file_in_place_of_its_path_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, name: str, content: str
) -> None:
    variable = PREFIX + name.upper()
    monkeypatch.setenv(variable, content)
    with pytest.raises(SettingsError) as refused:
        read_settings()
    assert str(refused.value) == f"{variable}: give the path of the file, not its content."
