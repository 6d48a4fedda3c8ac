from __future__ import annotations

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.key_text import KEY_ID_PATTERN, key_id_of, new_key, sha256_of


def test_new_key_has_an_id_and_256_random_bits() -> None:
    key_id, key = new_key()
    prefix, shown_id, secret = key.split("_", 2)
    assert (prefix, shown_id, len(key)) == ("osteo", key_id, 58)
    assert re.fullmatch(KEY_ID_PATTERN, key_id)
    assert len(base64.urlsafe_b64decode(f"{secret}=")) == 32


def test_new_key_differs_each_time() -> None:
    assert len({new_key() for _ in range(1000)}) == 1000


def test_new_key_avoids_taken_ids(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = iter("a" * 8 + "b" * 8)
    monkeypatch.setattr("app.access.key_text.secrets.choice", lambda _characters: next(drawn))
    assert new_key({"a" * 8})[0] == "b" * 8


def test_key_id_of_finds_the_id_of_every_new_key() -> None:
    for _ in range(1000):
        key_id, key = new_key()
        assert key_id_of(key) == key_id


@given(st.text())
def test_key_id_of_accepts_no_other_text(text: str) -> None:
    assert key_id_of(text) is None


@given(st.integers(0, 57), st.characters(exclude_characters="osteabcdfghijklmnpqruvwxyz"))
def test_key_id_of_accepts_no_key_with_a_strange_character(position: int, strange: str) -> None:
    key = "osteo_abcdefgh_" + "A" * 43
    damaged = key[:position] + strange + key[position + 1 :]
    is_secret = position >= 15 and re.fullmatch(r"[A-Z0-9_-]", strange)
    is_digit = 6 <= position < 14 and strange in "0123456789"
    is_same = damaged == key
    assert (key_id_of(damaged) is not None) == bool(is_secret or is_digit or is_same)


@pytest.mark.parametrize("tail", ["\n", " ", "=", "A"])
def test_key_id_of_accepts_nothing_after_a_key(tail: str) -> None:
    assert key_id_of("osteo_abcdefgh_" + "A" * 43 + tail) is None


@given(st.text(st.characters(), max_size=50))
def test_sha256_of_takes_any_text(text: str) -> None:
    assert len(sha256_of(text)) == 32


def test_sha256_of_takes_lone_surrogates() -> None:
    assert sha256_of("\udcff") != sha256_of("\udcfe")
