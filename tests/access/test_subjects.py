"""Client certificates whose subject a key names."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.access.api_keys import ApiKeys
from app.access.caller import Caller, Scope
from app.access.key_changes import create_key, revoke_key
from app.core.access_errors import CredentialsInvalidError
from app.core.errors import SettingsError
from tests.access.lookups import Clock, opened

SUBJECT = "CN=scanner-2,O=Hospital"
CLASSIFY = frozenset({Scope.CLASSIFY})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_find_subject_names_the_caller_of_a_certificate(path: Path) -> None:
    create_key(path, "viewer", CLASSIFY, None)
    create_key(path, "scanner", CLASSIFY, None, SUBJECT)
    keys = ApiKeys(path)
    assert keys.find_subject(SUBJECT) == Caller("scanner", "certificate", CLASSIFY)
    assert keys.find_subject("CN=somebody") is None
    assert keys.find_subject("") is None


def test_find_subject_refuses_the_certificate_of_a_revoked_key(path: Path) -> None:
    create_key(path, "scanner", CLASSIFY, None, SUBJECT)
    revoke_key(path, "scanner")
    with pytest.raises(CredentialsInvalidError) as refused:
        ApiKeys(path).find_subject(SUBJECT)
    assert refused.value.reason == "revoked"
    assert SUBJECT not in str(refused.value)


def test_find_subject_refuses_the_certificate_of_an_expired_key(path: Path) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    create_key(path, "scanner", CLASSIFY, ends, SUBJECT)
    with pytest.raises(CredentialsInvalidError) as refused:
        ApiKeys(path, clock=ends.timestamp).find_subject(SUBJECT)
    assert refused.value.reason == "expired"


@pytest.mark.parametrize("how", ["removed", "emptied"])
@pytest.mark.parametrize("reason", ["revoked", "expired"])
def test_find_subject_refuses_a_certificate_also_once_its_key_is_gone(
    path: Path, clock: Clock, reason: str, how: str
) -> None:
    ends = datetime.now(UTC) + timedelta(days=1)
    create_key(path, "scanner", CLASSIFY, ends, SUBJECT)
    if reason == "revoked":
        revoke_key(path, "scanner")
    else:
        clock.now_s = ends.timestamp()
    keys = opened(path, clock)
    if how == "removed":
        path.unlink()
    else:
        path.write_text('{"keys": []}')
    for _ in range(2):
        clock.pass_look()
        with pytest.raises(CredentialsInvalidError) as refused:
            keys.find_subject(SUBJECT)
        assert refused.value.reason == reason
        path.unlink(missing_ok=True)
    create_key(path, "new", CLASSIFY, ends + timedelta(days=1), SUBJECT)
    clock.pass_look()
    caller = keys.find_subject(SUBJECT)
    assert caller is not None
    assert caller.name == "new"


def test_find_subject_forgets_the_key_in_use_of_a_removed_file(path: Path, clock: Clock) -> None:
    create_key(path, "scanner", CLASSIFY, None, SUBJECT)
    keys = opened(path, clock)
    path.unlink()
    clock.pass_look()
    assert keys.find_subject(SUBJECT) is None


@pytest.mark.parametrize("is_reversed", [True, False])
def test_find_subject_prefers_a_key_in_use_to_a_revoked_one(path: Path, is_reversed: bool) -> None:
    create_key(path, "old", CLASSIFY, None, SUBJECT)
    revoke_key(path, "old")
    create_key(path, "new", CLASSIFY, None, SUBJECT)
    if is_reversed:
        document = json.loads(path.read_bytes())
        document["keys"].reverse()
        path.write_text(json.dumps(document))
    caller = ApiKeys(path).find_subject(SUBJECT)
    assert caller is not None
    assert caller.name == "new"


def test_create_key_refuses_a_subject_that_another_key_names(path: Path) -> None:
    create_key(path, "scanner", CLASSIFY, None, SUBJECT)
    with pytest.raises(SettingsError, match="The key 'scanner' names the subject"):
        create_key(path, "scanner-3", CLASSIFY, None, SUBJECT)


@pytest.mark.parametrize("subject", ["", "x" * 1025])
def test_create_key_refuses_a_subject_of_a_wrong_length(path: Path, subject: str) -> None:
    with pytest.raises(SettingsError, match="give 1 to 1024"):
        create_key(path, "scanner", CLASSIFY, None, subject)
    assert not path.exists()
