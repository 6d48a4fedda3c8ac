from __future__ import annotations

import hmac
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from app.access.api_keys import GivenKey
from app.access.caller import Caller
from app.access.key_changes import revoke_key, rotate_key
from app.core.access_errors import CredentialsInvalidError
from tests.access.lookups import ADMIN, CLASSIFY, Clock, created, days, opened, reason_of


def test_find_names_the_caller_of_a_key(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    created(path, "viewer")
    assert opened(path, clock).find(key) == Caller("scanner", "key", CLASSIFY)


def test_find_refuses_a_key_with_a_wrong_secret(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    wrong = key[:-2] + ("A" if key[-2] != "A" else "B") + key[-1]
    assert reason_of(opened(path, clock), wrong) == "unknown"


@pytest.mark.parametrize("text", ["", "x", "osteo_abcdefgh_" + "A" * 43, "é\udcff", "k" * 100_000])
def test_find_refuses_any_other_text(path: Path, clock: Clock, text: str) -> None:
    created(path, "scanner")
    with pytest.raises(CredentialsInvalidError) as refused:
        opened(path, clock, ADMIN).find(text)
    assert refused.value.reason == "unknown"


def test_find_accepts_a_key_of_the_settings(path: Path, clock: Clock) -> None:
    keys = opened(path, clock, GivenKey("env", "any text, é", CLASSIFY), ADMIN)
    assert keys.find("any text, é") == Caller("env", "key", CLASSIFY)
    assert keys.find("a long admin token").name == "admin"


def test_find_refuses_a_key_from_its_expiry_on(path: Path, clock: Clock) -> None:
    ends = days(1)
    key = created(path, "scanner", ends)
    keys = opened(path, clock)
    clock.now_s = ends.timestamp() - 0.001
    assert keys.find(key).name == "scanner"
    clock.now_s = ends.timestamp()
    assert reason_of(keys, key) == "expired"
    assert keys.is_empty


def test_find_refuses_a_revoked_key(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    assert keys.find(key).name == "scanner"
    revoke_key(path, "scanner")
    clock.pass_look()
    assert reason_of(keys, key) == "revoked"


def test_find_accepts_both_keys_of_a_rotation_until_its_end(path: Path, clock: Clock) -> None:
    old = created(path, "scanner")
    new = rotate_key(path, "scanner", timedelta(days=7), days(365)).key
    keys = opened(path, clock)
    assert keys.find(old) == keys.find(new) == Caller("scanner", "key", CLASSIFY)
    clock.now_s += timedelta(days=7).total_seconds()
    assert reason_of(keys, old) == "expired"
    assert keys.find(new).name == "scanner"


def test_find_compares_in_constant_time_also_if_no_key_has_the_id(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock, ADMIN, GivenKey("env", "other", CLASSIFY))
    compared: list[tuple[int, int]] = []

    def compare(left: bytes, right: bytes) -> bool:
        compared.append((len(left), len(right)))
        return compare_digest(left, right)

    compare_digest = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", compare)
    for text in (key, "osteo_abcdefgh_" + "A" * 43, "no form at all", "a long admin token"):
        compared.clear()
        with suppress(CredentialsInvalidError):
            keys.find(text)
        assert compared == [(32, 32)] * 3


def test_keys_hold_no_secret(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock, ADMIN)
    keys.find(key)
    held = repr(vars(keys)) + repr(ADMIN)
    assert "a long admin token" not in held
    assert key.split("_", 2)[2] not in held
    assert key not in path.read_text()


def test_is_empty_without_a_file(path: Path, clock: Clock) -> None:
    assert opened(path, clock).is_empty
    assert not opened(path, clock, ADMIN).is_empty


def test_soonest_expiry_s_is_that_of_the_next_key(path: Path, clock: Clock) -> None:
    assert opened(path, clock).soonest_expiry_s is None
    created(path, "forever")
    assert opened(path, clock).soonest_expiry_s is None
    created(path, "later", days(20))
    ends = days(10)
    created(path, "sooner", ends)
    keys = opened(path, clock)
    assert keys.soonest_expiry_s == pytest.approx(ends.timestamp() - clock.now_s)
    clock.now_s += timedelta(days=15).total_seconds()
    assert keys.soonest_expiry_s == pytest.approx(timedelta(days=5).total_seconds(), abs=60)
    revoke_key(path, "later")
    clock.pass_look()
    assert keys.soonest_expiry_s is None


def test_soonest_expiry_s_ignores_the_old_secret_of_a_rotation(path: Path, clock: Clock) -> None:
    created(path, "scanner", days(30))
    rotate_key(path, "scanner", timedelta(days=1), None)
    assert opened(path, clock).soonest_expiry_s is None
