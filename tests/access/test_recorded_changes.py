"""A change of a key is recorded before it is made, so that none can go unrecorded."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from app.access.key_changes import (
    KeyChange,
    create_first_key,
    create_key,
    revoke_key,
    rotate_key,
)
from app.core.errors import SettingsError
from tests.access.lookups import CLASSIFY, created

Change = Callable[..., object]
CHANGES: dict[str, Change] = {
    "create": partial(create_key, name="other", scopes=CLASSIFY, expires_at=None),
    "rotate": partial(rotate_key, name="scanner", overlap=timedelta(0)),
    "revoke": partial(revoke_key, name="scanner"),
}


def refuse(_change: KeyChange) -> None:
    raise SettingsError("The audit cannot be reached.")


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_change_is_not_made_if_it_cannot_be_recorded(path: Path, change: Change) -> None:
    created(path, "scanner")
    before = path.read_bytes()
    with pytest.raises(SettingsError, match="cannot be reached"):
        change(path, record_change=refuse)
    assert path.read_bytes() == before


def test_first_key_is_made_at_the_next_start_if_it_could_not_be_recorded(path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be reached"):
        create_first_key(path, refuse)
    assert not path.exists()
    assert create_first_key(path) is not None


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_change_is_recorded_once_while_nobody_else_can_change_the_keys(
    path: Path, change: Change
) -> None:
    created(path, "scanner")
    before = path.read_bytes()
    recorded: list[KeyChange] = []

    def record(given: KeyChange) -> None:
        recorded.append(given)
        assert path.read_bytes() == before
        with path.with_name("keys.json.lock").open("rb+") as lock, pytest.raises(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)

    change(path, record_change=record)
    assert len(recorded) == 1
    assert path.read_bytes() != before
