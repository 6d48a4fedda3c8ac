"""Create, rotate and revoke API keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from app.access.caller import OPEN_SCOPES, Scope
from app.access.key_file import (
    NAME_PATTERN,
    KeyEntry,
    KeySecret,
    OpenKeyFile,
    opened_for_change,
)
from app.access.key_text import key_id_of, new_key, sha256_of
from app.core.errors import SettingsError

FIRST_KEY_NAME: Final = "first"
MAX_SUBJECT_LENGTH: Final = 1024


@dataclass(frozen=True, slots=True)
class KeyChange:
    """What was done to a key, for the audit; it holds no secret.

    Attributes:
        action: what was done.
        key_name: the key's name.
        scopes: of the key.
        key_id: the public id of the new secret; None if there is none.
        expires_at: of the new secret; never if None.
        old_until: for a rotation, when the old secrets expire at the latest.
    """

    action: Literal["create", "rotate", "revoke"]
    key_name: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    expires_at: datetime | None = None
    old_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is shown once, and the change that made it."""

    key: str = field(repr=False)
    change: KeyChange


def create_key(
    path: Path,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    subject: str | None = None,
) -> NewKey:
    """Add a key to a file.

    Args:
        path: the file of keys, which is created if there is none.
        name: identifies the caller; 1 to 64 letters, digits and `. _ @ -`.
        scopes: what the caller may do; at least one.
        expires_at: when the key ends, with a time zone; never if None.
        subject: subject of a client certificate that identifies the same caller.

    Raises:
        SettingsError: the name or the subject is taken or not allowed, there is no scope, the time
            is over, or the file cannot be read or written.
    """
    now = _now()
    _require_name(name)
    _require_future(expires_at, now)
    if subject is not None and not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise SettingsError(
            f"The subject has {len(subject)} characters; give 1 to {MAX_SUBJECT_LENGTH}."
        )
    chosen = frozenset(scopes)
    if not chosen:
        raise SettingsError(f"Name at least one scope: {', '.join(Scope)}.")
    with opened_for_change(path) as file:
        for entry in file.content.keys:
            _require_free(entry, name, subject)
        return _append(file, name, chosen, expires_at, now, subject)


def create_first_key(
    path: Path, record_change: Callable[[KeyChange], object] = lambda _change: None
) -> str | None:
    """Add a key named `first` to a file without keys; it never expires.

    Args:
        path: the file of keys, which is created if there is none.
        record_change: is given the change.

    Returns:
        The key; None if the file has keys already, also revoked or expired ones. Of two processes
        that start at once, one gets a key and the other None.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    with opened_for_change(path) as file:
        if file.content.keys:
            return None
        new = _append(file, FIRST_KEY_NAME, OPEN_SCOPES, None, _now(), None)
    record_change(new.change)
    return new.key


def rotate_key(path: Path, name: str, overlap: timedelta, expires_at: datetime | None) -> NewKey:
    """Give a key a new secret; the old ones stay valid for a while.

    Args:
        path: the file of keys.
        name: of a key that was not revoked; it may have expired.
        overlap: how long the old secrets are valid from now on; zero or more. One that expires
            earlier does so.
        expires_at: when the new secret ends, with a time zone; never if None.

    Raises:
        SettingsError: there is no such key, it was revoked, the time is over, or the file cannot be
            read or written.
    """
    now = _now()
    _require_future(expires_at, now)
    with opened_for_change(path) as file:
        old = _entry_in_use(file, name)
        until = now + overlap
        kept = [_ending(secret, until) for secret in old.secrets]
        kept = [secret for secret in kept if secret.expires_at and secret.expires_at > now]
        key, secret = _new_secret(file, expires_at, now)
        new = old.model_copy(update={"secrets": (*kept, secret)})
        file.replace(new if entry is old else entry for entry in file.content.keys)
    old_until = max((kept_one.expires_at or until for kept_one in kept), default=now)
    scopes = frozenset(old.scopes)
    return NewKey(key, KeyChange("rotate", name, scopes, secret.id, expires_at, old_until))


def revoke_key(path: Path, name: str) -> KeyChange:
    """Refuse a key from now on, for good.

    Raises:
        SettingsError: there is no such key, it was revoked already, or the file cannot be read or
            written.
    """
    with opened_for_change(path) as file:
        old = _entry_in_use(file, name)
        new = old.model_copy(update={"revoked_at": _now()})
        file.replace(new if entry is old else entry for entry in file.content.keys)
    return KeyChange("revoke", name, frozenset(old.scopes))


def _append(
    file: OpenKeyFile,
    name: str,
    scopes: frozenset[Scope],
    expires_at: datetime | None,
    now: datetime,
    subject: str | None,
) -> NewKey:
    key, secret = _new_secret(file, expires_at, now)
    ordered = tuple(scope for scope in Scope if scope in scopes)
    entry = KeyEntry(name=name, scopes=ordered, created_at=now, subject=subject, secrets=(secret,))
    file.replace((*file.content.keys, entry))
    return NewKey(key, KeyChange("create", name, scopes, secret.id, expires_at))


def _new_secret(
    file: OpenKeyFile, expires_at: datetime | None, now: datetime
) -> tuple[str, KeySecret]:
    taken = {secret.id for entry in file.content.keys for secret in entry.secrets}
    key_id, key = new_key(taken)
    sha256 = sha256_of(key).hex()
    return key, KeySecret(id=key_id, sha256=sha256, created_at=now, expires_at=expires_at)


def _ending(secret: KeySecret, until: datetime) -> KeySecret:
    ends = until if secret.expires_at is None else min(secret.expires_at, until)
    return secret.model_copy(update={"expires_at": ends})


def _entry_in_use(file: OpenKeyFile, name: str) -> KeyEntry:
    found = next((entry for entry in file.content.keys if entry.name == name), None)
    if found is None:
        raise SettingsError(
            f"There is no key named {name[:80]!r} in {file.path}. `osteo keys list` lists the keys."
        )
    if found.revoked_at is not None:
        raise SettingsError(
            f"The key {name!r} was revoked on {_day(found.revoked_at)}, which is final. "
            "Create a key with another name."
        )
    return found


def _require_name(name: str) -> None:
    if key_id_of(name) is not None:  # a name appears in logs
        raise SettingsError("This is an API key, not a name for one. Name who will use the key.")
    if not re.match(NAME_PATTERN, name) or name.endswith("\n"):
        raise SettingsError(
            f"{name[:80]!r} is not a name for a key. Use 1 to 64 letters, digits, dots, "
            "underscores, hyphens and @, and begin with a letter or a digit."
        )


def _require_free(entry: KeyEntry, name: str, subject: str | None) -> None:
    if entry.name == name:
        if entry.revoked_at is None:
            raise SettingsError(
                f"A key named {name!r} exists already. Choose another name, or replace its secret "
                f"with `osteo keys rotate {name}`."
            )
        raise SettingsError(
            f"A key named {name!r} existed and was revoked on {_day(entry.revoked_at)}. Choose "
            "another name: records of what the old one did keep its name."
        )
    if subject is not None and entry.subject == subject and entry.revoked_at is None:
        raise SettingsError(
            f"The key {entry.name!r} names the subject {subject!r} already. Revoke it first with "
            f"`osteo keys revoke {entry.name}`."
        )


def _require_future(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise SettingsError(
            f"A key that expires on {_day(expires_at)} would never be valid. Give a later time."
        )


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d}"
