from __future__ import annotations

import typing
from collections.abc import Iterator

import annotated_types
import pytest
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from app.core.errors import SettingsError
from app.settings import PREFIX, Settings, read_settings
from app.settings.variables import OTHER_VARIABLES


def test_defaults_need_no_environment() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port) == ("127.0.0.1", 8000)
    assert settings.tile_limits.max_bytes == settings.max_tile_bytes


def test_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "9000")
    assert read_settings().port == 9000


def test_command_line_takes_precedence_over_the_environment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSTEO_PORT", "9000")
    assert read_settings(port=9001).port == 9001


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_misspelt_setting_is_rejected(name: str) -> None:
    with pytest.raises(SettingsError, match="Did you mean"):
        read_settings({f"{PREFIX}{name.upper()}X": "1"})


def test_variables_of_other_programs_are_accepted() -> None:
    read_settings(dict.fromkeys(OTHER_VARIABLES, "anything"))


def broken_constraints(field: FieldInfo) -> Iterator[tuple[str, str]]:
    """A value that breaks each constraint of a field, with the words that must name the limit."""
    kinds = {*typing.get_args(field.annotation), field.annotation}
    literals = [value for value in typing.get_args(field.annotation) if isinstance(value, str)]
    if bool in kinds:
        yield "perhaps", "must be true or false"
    elif int in kinds:
        yield from (("many", "must be an integer"), ("1.5", "must be an integer"))
    elif float in kinds:
        yield "much", "must be a number"
    elif literals:
        yield "neither", f"must be {', '.join(map(repr, literals[:-1]))} or {literals[-1]!r}"
    for limit in field.metadata:
        match limit:
            case annotated_types.Gt(gt=float() | int() as bound):
                yield f"{bound}", f"must be greater than {bound:g}"
            case annotated_types.Ge(ge=float() | int() as bound):
                yield f"{bound - 1}", f"must be at least {bound:g}"
            case annotated_types.Lt(lt=float() | int() as bound):
                yield f"{bound}", f"must be less than {bound:g}"
            case annotated_types.Le(le=float() | int() as bound):
                yield f"{bound + 1}", f"must be at most {bound}"
            case annotated_types.MinLen(min_length=bound):
                yield "x" * (bound - 1), f"must have at least {bound} characters"


@pytest.mark.parametrize(
    ("name", "value", "clause"),
    [
        (name, value, clause)
        for name, field in Settings.model_fields.items()
        for value, clause in broken_constraints(field)
    ],
)
def test_broken_constraint_is_one_sentence_with_variable_limit_and_value(
    name: str, value: str, clause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"{PREFIX}{name.upper()}"
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as caught:
        read_settings()
    is_secret = SecretStr in typing.get_args(Settings.model_fields[name].annotation)
    assert str(caught.value) == f"{variable} {clause}{'' if is_secret else f' (got {value!r})'}."


def test_short_admin_token_is_rejected_without_being_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OSTEO_ADMIN_TOKEN", "secret")
    with pytest.raises(SettingsError) as caught:
        read_settings()
    assert str(caught.value) == "OSTEO_ADMIN_TOKEN must have at least 16 characters."


def test_every_invalid_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "99999")
    monkeypatch.setenv("OSTEO_WORKERS", "0")
    with pytest.raises(SettingsError, match=r"OSTEO_PORT .*\. OSTEO_WORKERS .*\."):
        read_settings()


def test_kubernetes_service_link_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OSTEO_PORT", "tcp://10.0.0.1:8000")
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings()
    with pytest.raises(SettingsError, match="enableServiceLinks"):
        read_settings({"OSTEO_SERVICE_HOST": "10.0.0.1"})


def test_batch_larger_than_the_queue_is_rejected() -> None:
    with pytest.raises(
        SettingsError,
        match=r"^OSTEO_MAX_REQUEST_TILES \(10\) must not exceed OSTEO_MAX_TILES_IN_FLIGHT \(5\)",
    ):
        read_settings({}, max_request_tiles=10, max_tiles_in_flight=5)


def test_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ADMIN_TOKEN", "MODEL_VERSION", "WORKERS"):
        monkeypatch.setenv(f"OSTEO_{name}", "")
    settings = read_settings()
    assert (settings.admin_token, settings.model_version, settings.workers) == (None, None, None)
