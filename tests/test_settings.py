from __future__ import annotations

import pytest

from app.core.errors import SettingsError
from app.settings import PREFIX, Settings, read_settings


def test_defaults_need_no_environment() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.tile_limits.max_bytes == settings.max_tile_bytes


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "9000")
    assert read_settings().port == 9000


def test_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "9000")
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_misspelt_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match="Did you mean"):
        read_settings({f"{PREFIX}{name.upper()}X": "1"})


def test_variables_of_training_are_no_misspelling() -> None:
    read_settings({"OSTEO_DATA_DIR": "/data", "OSTEO_WEIGHTS": "/weights"})


def test_value_out_of_range_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "99999")
    with pytest.raises(SettingsError, match="OSTEO_PORT"):
        read_settings()


def test_kubernetes_service_link_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "tcp://10.0.0.1:8000")
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings()
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings({"OSTEO_SERVICE_HOST": "10.0.0.1"})


def test_batch_larger_than_the_queue_is_refused() -> None:
    with pytest.raises(SettingsError, match="OSTEO_MAX_REQUEST_TILES"):
        read_settings({}, max_request_tiles=10, max_tiles_in_flight=5)


def test_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADMIN_TOKEN", "MODEL_VERSION", "WORKERS"):
        monkeypatch.setenv(f"OSTEO_{name}", "")
    settings = read_settings()
    assert (settings.admin_token, settings.model_version, settings.workers) == (None, None, None)


def test_short_token_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_ADMIN_TOKEN", "secret")
    with pytest.raises(SettingsError, match="OSTEO_ADMIN_TOKEN") as caught:
        read_settings()
    assert "secret" not in str(caught.value).replace("OSTEO_ADMIN_TOKEN", "")
