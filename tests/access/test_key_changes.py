from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.caller import OPEN_SCOPES, Scope
from app.access.key_changes import (
    KeyChange,
    PreviousSecret,
    create_first_key,
    create_key,
    revoke_key,
    rotate_key,
)
from app.access.key_file import read_key_file
from app.access.key_text import key_id_of
from app.core.errors import SettingsError
from tests.access.lookups import CLASSIFY, created, days


def test_create_key_says_what_it_did(path: Path) -> None:
    ends = days(90)
    new = create_key(path, "scanner", CLASSIFY, ends)
    assert new.change == KeyChange("create", "scanner", CLASSIFY, key_id_of(new.key), ends)
    assert new.key not in repr(new)


def test_rotate_key_says_what_it_did(path: Path) -> None:
    ends = days(90).replace(microsecond=0)
    old = created(path, "scanner", ends)
    now = datetime.now(UTC)
    new = rotate_key(path, "scanner", timedelta(days=7), None)
    assert new.change.action == "rotate"
    assert new.change.key_id == key_id_of(new.key)
    assert new.change.previous == (PreviousSecret(key_id_of(old) or "", ends),)
    assert new.change.old_until is not None
    assert new.change.old_until - now == pytest.approx(timedelta(days=7), abs=timedelta(minutes=5))


def test_rotate_key_without_overlap_ends_the_old_secret(path: Path) -> None:
    created(path, "scanner")
    key = rotate_key(path, "scanner", timedelta(0), None).key
    (entry,) = read_key_file(path)[0].keys
    assert [secret.id for secret in entry.secrets] == [key_id_of(key)]


def test_rotate_key_does_not_prolong_an_old_secret(path: Path) -> None:
    ends = days(1).replace(microsecond=0)
    created(path, "scanner", ends)
    change = rotate_key(path, "scanner", timedelta(days=7), days(365)).change
    assert change.old_until == ends


def test_revoke_key_says_what_it_did_and_keeps_the_name(path: Path) -> None:
    created(path, "scanner")
    (secret,) = read_key_file(path)[0].keys[0].secrets
    previous = (PreviousSecret(secret.id, None),)
    change = revoke_key(path, "scanner")
    assert change == KeyChange("revoke", "scanner", CLASSIFY, previous=previous)
    with pytest.raises(SettingsError, match=r"was revoked on 20.*Choose another name"):
        created(path, "scanner")


@pytest.mark.parametrize("name", ["", " ", "a b", "-a", "a/b", "a\n", "é", "[red]", "x" * 65])
def test_create_key_refuses_a_name_that_could_not_be_logged(path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match="is not a name for a key"):
        created(path, name)
    assert not path.exists()


def test_create_key_refuses_a_key_as_a_name_without_repeating_it(path: Path) -> None:
    key = created(path, "scanner")
    with pytest.raises(SettingsError, match="This is an API key, not a name") as refused:
        created(path, key)
    assert key not in str(refused.value)


@given(st.text(max_size=70))
def test_created_names_can_be_read_again(
    tmp_path_factory: pytest.TempPathFactory, name: str
) -> None:
    path = tmp_path_factory.getbasetemp() / "names.json"
    path.unlink(missing_ok=True)
    try:
        created(path, name)
    except SettingsError:
        assert not path.exists()
    else:
        assert read_key_file(path)[0].keys[0].name == name


def test_create_key_refuses_a_taken_name(path: Path) -> None:
    created(path, "scanner")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"exists already.*osteo keys rotate scanner"):
        created(path, "scanner")
    assert path.read_bytes() == before


def test_create_key_refuses_a_key_without_scopes(path: Path) -> None:
    with pytest.raises(SettingsError, match="Name at least one scope: classify"):
        create_key(path, "scanner", [], None)


def test_key_that_would_never_be_valid_is_refused(path: Path) -> None:
    with pytest.raises(SettingsError, match="would never be valid"):
        created(path, "scanner", days(-1))
    created(path, "scanner")
    with pytest.raises(SettingsError, match="would never be valid"):
        rotate_key(path, "scanner", timedelta(0), days(-1))


def test_refused_name_is_repeated_without_the_secret_of_a_key(path: Path) -> None:
    secret = created(path, "scanner").split("_", 2)[2]
    pasted = f"osteo_abcdefgh_{secret}"
    for name in (pasted, f"KEY={pasted}", f"{'x' * 70}{pasted}"):
        for change in (revoke_key, partial(rotate_key, overlap=timedelta(0))):
            with pytest.raises(SettingsError, match="There is no key named") as refused:
                change(path, name)
            assert secret[:8] not in str(refused.value)
    with pytest.raises(SettingsError, match="is not a name for a key") as refused:
        created(path, f"KEY={pasted}")
    assert secret[:8] not in str(refused.value)


@pytest.mark.parametrize("name", ["nobody", "gone"])
def test_only_keys_in_use_can_be_changed(path: Path, name: str) -> None:
    created(path, "gone")
    revoke_key(path, "gone")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match=r"There is no key|was revoked on"):
        rotate_key(path, name, timedelta(0), None)
    with pytest.raises(SettingsError, match=r"There is no key|was revoked on"):
        revoke_key(path, name)
    assert path.read_bytes() == before


def test_broken_file_is_not_replaced(path: Path) -> None:
    path.write_text("{")
    with pytest.raises(SettingsError, match="is not valid"):
        created(path, "scanner")
    assert path.read_text() == "{"


def test_create_first_key_creates_one_key_only(path: Path) -> None:
    changes: list[KeyChange] = []
    key = create_first_key(path, changes.append)
    assert key is not None
    assert changes == [KeyChange("create", "first", OPEN_SCOPES, key_id_of(key))]
    assert create_first_key(path, changes.append) is None
    assert len(changes) == 1


def test_create_first_key_does_not_replace_revoked_keys(path: Path) -> None:
    created(path, "scanner")
    revoke_key(path, "scanner")
    assert create_first_key(path) is None


def test_scopes_are_stored_in_one_order(path: Path) -> None:
    create_key(path, "scanner", [Scope.METRICS, Scope.CLASSIFY, Scope.EXPLAIN], None)
    assert read_key_file(path)[0].keys[0].scopes == (Scope.CLASSIFY, Scope.EXPLAIN, Scope.METRICS)
