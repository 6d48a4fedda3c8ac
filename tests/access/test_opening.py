from __future__ import annotations

from pathlib import Path

import pytest

from app.access.caller import ANONYMOUS, Scope
from app.access.opening import open_access, open_first_key
from app.audit.command_records import record_key_change
from app.core.errors import SettingsError
from app.settings import Settings
from tests.access.keys import make_key

EXPOSED = "0.0.0.0"  # noqa: S104 - nothing listens


def settings_in(folder: Path, **settings: object) -> Settings:
    return Settings(state_dir=folder, **settings)  # type: ignore[arg-type] # any setting


def test_access_is_not_open_to_other_machines_by_accident(tmp_path: Path) -> None:
    with pytest.raises(SettingsError) as refused:
        open_access(settings_in(tmp_path, host=EXPOSED))
    for way in ("osteo keys create", "OSTEO_OIDC_ISSUER", "OSTEO_TLS_CLIENT_CA", "OSTEO_AUTH=none"):
        assert way in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LocalHost"])
def test_access_is_open_on_loopback(tmp_path: Path, host: str) -> None:
    assert not open_access(settings_in(tmp_path, host=host)).is_required


@pytest.mark.parametrize("host", [EXPOSED, "::", "10.0.0.1", "fe80::1%eth0", "localhost.example"])
def test_access_needs_callers_on_any_other_address(tmp_path: Path, host: str) -> None:
    with pytest.raises(SettingsError, match="nothing says who may"):
        open_access(settings_in(tmp_path, host=host))


def test_access_is_open_outright(tmp_path: Path) -> None:
    assert not open_access(settings_in(tmp_path, host=EXPOSED, auth="none")).is_required


def test_access_is_not_both_open_and_configured(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="Remove one or the other"):
        open_access(settings_in(tmp_path, auth="none", api_key="x" * 16))


def test_keys_of_the_default_file_close_the_service(tmp_path: Path) -> None:
    make_key(tmp_path / "keys.json", "lis")
    assert open_access(settings_in(tmp_path)).is_required


def test_admin_token_alone_does_not_count_as_a_caller(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing says who may"):
        open_access(settings_in(tmp_path, host=EXPOSED, admin_token="x" * 16))


def test_issuer_needs_an_audience(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="OSTEO_OIDC_AUDIENCE"):
        open_access(settings_in(tmp_path, oidc_issuer="https://id.example.org"))


def test_unknown_scope_of_certificates_is_refused(tmp_path: Path) -> None:
    named = {name: tmp_path / name for name in ("tls_certificate", "tls_key", "tls_client_ca")}
    with pytest.raises(SettingsError, match=r"'clasify' is not a scope"):
        open_access(settings_in(tmp_path, **named, tls_client_scopes="clasify explain"))


def test_first_key_is_created_once(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, host=EXPOSED, create_first_key=True)
    changes: list[object] = []
    key = open_first_key(settings, changes.append)
    assert key is not None
    assert open_access(settings).identify(key, None, Scope.CLASSIFY)
    assert open_first_key(settings, changes.append) is None
    assert len(changes) == 1


def test_no_first_key_is_made_for_a_start_that_would_fail(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, create_first_key=True, rate_limits="classify=often")
    with pytest.raises(SettingsError, match="OSTEO_RATE_LIMITS"):
        open_first_key(settings, print)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [{"api_key": "x" * 16}, {"auth": "none"}, {}])
def test_first_key_is_not_created_where_it_is_not_needed(
    tmp_path: Path, given: dict[str, str]
) -> None:
    settings = settings_in(tmp_path, create_first_key=bool(given), **given)
    assert open_first_key(settings, print) is None
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """A state folder that this user may not enter; for root it is one whose name is too long."""

    def exists(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "exists", exists)
    return Settings(state_dir=tmp_path / ("x" * 300), create_first_key=True, host="0.0.0.0")  # noqa: S104 - not served


def test_open_access_says_which_file_of_keys_cannot_be_read(locked: Settings) -> None:
    with pytest.raises(SettingsError, match=r"keys\.json cannot be read: File name too long\. Let"):
        open_access(locked)


def test_open_first_key_makes_no_key_if_there_may_be_some(locked: Settings) -> None:
    assert open_first_key(locked, lambda change: change) is None


def test_change_of_a_key_is_one_sentence_if_the_audit_cannot_be_reached(locked: Settings) -> None:
    on_loopback = locked.model_copy(update={"host": "127.0.0.1"})
    with pytest.raises(SettingsError, match="The change cannot be recorded"):
        record_key_change(on_loopback, {"key_name": "lis"})


@pytest.mark.parametrize(("host", "level"), [("0.0.0.0", "WARNING"), ("127.0.0.1", "INFO")])  # noqa: S104 - not served
def test_open_access_says_that_everybody_may_call(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, host: str, level: str
) -> None:
    caplog.set_level("INFO")
    assert not open_access(Settings(state_dir=tmp_path, host=host, auth="none")).is_required
    assert [(r.message, r.levelname) for r in caplog.records] == [("open_to_everybody", level)]


@pytest.mark.parametrize(
    ("given", "is_warned"),
    [
        ({}, True),
        ({"api_key": "x" * 16}, False),
        ({"oidc_issuer": "https://id.example.org", "oidc_audience": "tiles"}, False),
        (dict.fromkeys(("tls_certificate", "tls_key", "tls_client_ca"), "x"), False),
    ],
    ids=["nothing else", "given key", "provider", "certificates"],
)
def test_open_access_warns_that_no_caller_can_get_in(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, given: dict[str, str], is_warned: bool
) -> None:
    file = tmp_path / "misspelt.json"
    open_access(settings_in(tmp_path, host=EXPOSED, keys_file=file, **given))
    warned = [(r.message, r.levelname, vars(r)["file"]) for r in caplog.records]
    assert warned == [("no_usable_key", "WARNING", str(file))] * is_warned


def test_open_access_does_not_warn_if_there_is_a_usable_key(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    make_key(tmp_path / "keys.json", "lis")
    open_access(settings_in(tmp_path))
    assert caplog.records == []


def test_service_that_started_open_stays_open(tmp_path: Path) -> None:
    settings = Settings(state_dir=tmp_path)
    opened = open_access(settings)
    make_key(tmp_path / "keys.json", "lis")
    assert opened.identify(None, None, Scope.CLASSIFY) == ANONYMOUS
    assert open_access(settings).is_required
