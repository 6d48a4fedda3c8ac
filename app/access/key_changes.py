"""Create, rotate and revoke API keys."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from app.access.caller import OPEN_SCOPES, Scope
from app.access.key_file import KeyEntry, KeySecret, OpenKeyFile, opened_for_change
from app.access.key_requirements import (
    entry_in_use,
    require_free,
    require_future,
    require_name,
)
from app.access.key_text import new_key, sha256_of
from app.core.errors import SettingsError

FIRST_KEY_NAME: Final = "first"
MAX_SUBJECT_LENGTH: Final = 1024
SAME_LIFETIME: Final[Literal["same lifetime"]] = "same lifetime"
"""For a rotation: the new secret lives as long as the newest old one was made for."""
_LAST_TIME: Final = datetime.max.replace(microsecond=0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PreviousSecret:
    """A secret that a key had before a change.

    Attributes:
        key_id: its public id.
        expires_at: when it was to expire before the change; never if None.
    """

    key_id: str
    expires_at: datetime | None


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
        previous: the secrets that the key had before; none of a new key.
    """

    action: Literal["create", "rotate", "revoke"]
    key_name: str
    scopes: frozenset[Scope]
    key_id: str | None = None
    expires_at: datetime | None = None
    old_until: datetime | None = None
    previous: tuple[PreviousSecret, ...] = ()


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that is shown once, and the change that made it.

    Attributes:
        key: its whole text.
        change: what was done.
        is_only: whether the file has no other key.
    """

    key: str = field(repr=False)
    change: KeyChange
    is_only: bool


RecordChange = Callable[[KeyChange], object]
"""Is given a change before the file is replaced, while no other process can change the keys.

If it raises, nothing is changed. If the file cannot be written afterwards, the record describes a
change that did not happen; the other order could lose a record, or a key that nobody has seen.
"""


def _record_nothing(_change: KeyChange) -> None:
    """For callers that keep no audit."""


def create_key(
    path: Path,
    name: str,
    scopes: Iterable[Scope],
    expires_at: datetime | None,
    subject: str | None = None,
    record_change: RecordChange = _record_nothing,
) -> NewKey:
    """Add a key to a file.

    Args:
        path: the file of keys, which is created if there is none.
        name: identifies the caller; 1 to 64 letters, digits and `. _ @ -`.
        scopes: what the caller may do; at least one.
        expires_at: when the key ends, with a time zone; never if None.
        subject: subject of a client certificate that identifies the same caller.
        record_change: is given the change before it is made; what it raises is passed on.

    Raises:
        SettingsError: the name or the subject is taken or not allowed, there is no scope, the time
            is over, or the file cannot be read or written.
    """
    now = _now()
    require_name(name)
    require_future(expires_at, now)
    if subject is not None and not 0 < len(subject) <= MAX_SUBJECT_LENGTH:
        raise SettingsError(
            f"The subject has {len(subject)} characters; give 1 to {MAX_SUBJECT_LENGTH}."
        )
    chosen = frozenset(scopes)
    if not chosen:
        raise SettingsError(f"Name at least one scope: {', '.join(Scope)}.")
    with opened_for_change(path) as file:
        for entry in file.content.keys:
            require_free(entry, name, subject)
        return _append(file, name, chosen, expires_at, now, subject, record_change)


def create_first_key(path: Path, record_change: RecordChange = _record_nothing) -> str | None:
    """Add a key named `first` to a file without keys; it never expires.

    Args:
        path: the file of keys, which is created if there is none.
        record_change: is given the change before it is made; what it raises is passed on.

    Returns:
        The key; None if the file has keys already, also revoked or expired ones. Of two processes
        that start at once, one gets a key and the other None.

    Raises:
        SettingsError: the file cannot be read or written.
    """
    with opened_for_change(path) as file:
        if file.content.keys:
            return None
        scopes = OPEN_SCOPES
        return _append(file, FIRST_KEY_NAME, scopes, None, _now(), None, record_change).key


def rotate_key(
    path: Path,
    name: str,
    overlap: timedelta,
    expires_at: datetime | Literal["same lifetime"] | None = SAME_LIFETIME,
    record_change: RecordChange = _record_nothing,
) -> NewKey:
    """Give a key a new secret; the old ones stay valid for a while.

    Args:
        path: the file of keys.
        name: of a key that was not revoked; it may have expired.
        overlap: how long the old secrets are valid from now on; zero or more. One that expires
            earlier does so.
        expires_at: when the new secret ends, with a time zone; never if None. By default it lives
            as long as the newest old one was made for: a key made for a day gets another day.
        record_change: is given the change before it is made; what it raises is passed on.

    Raises:
        SettingsError: there is no such key, it was revoked, the time is over, or the file cannot be
            read or written.
    """
    now = _now()
    with opened_for_change(path) as file:
        old = entry_in_use(file, name)
        if expires_at == SAME_LIFETIME:
            expires_at = _same_lifetime(old, now)
        require_future(expires_at, now)
        until = now + overlap
        kept = [_ending(secret, until) for secret in old.secrets]
        kept = [secret for secret in kept if secret.expires_at and secret.expires_at > now]
        key, secret = _new_secret(file, expires_at, now)
        old_until = max((kept_one.expires_at or until for kept_one in kept), default=now)
        scopes, previous = frozenset(old.scopes), _secrets_of(old)
        change = KeyChange("rotate", name, scopes, secret.id, expires_at, old_until, previous)
        record_change(change)
        new = old.model_copy(update={"secrets": (*kept, secret)})
        file.replace(new if entry is old else entry for entry in file.content.keys)
    return NewKey(key, change, is_only=len(file.content.keys) == 1)


def revoke_key(path: Path, name: str, record_change: RecordChange = _record_nothing) -> KeyChange:
    """Refuse a key from now on, for good.

    Args:
        path: the file of keys.
        name: of a key that was not revoked.
        record_change: is given the change before it is made; what it raises is passed on.

    Raises:
        SettingsError: there is no such key, it was revoked already, or the file cannot be read or
            written.
    """
    with opened_for_change(path) as file:
        old = entry_in_use(file, name)
        change = KeyChange("revoke", name, frozenset(old.scopes), previous=_secrets_of(old))
        record_change(change)
        new = old.model_copy(update={"revoked_at": _now()})
        file.replace(new if entry is old else entry for entry in file.content.keys)
    return change


def _append(
    file: OpenKeyFile,
    name: str,
    scopes: frozenset[Scope],
    expires_at: datetime | None,
    now: datetime,
    subject: str | None,
    record_change: RecordChange,
) -> NewKey:
    key, secret = _new_secret(file, expires_at, now)
    ordered = tuple(scope for scope in Scope if scope in scopes)
    entry = KeyEntry(name=name, scopes=ordered, created_at=now, subject=subject, secrets=(secret,))
    change = KeyChange("create", name, scopes, secret.id, expires_at)
    record_change(change)
    file.replace((*file.content.keys, entry))
    return NewKey(key, change, is_only=len(file.content.keys) == 1)


def _new_secret(
    file: OpenKeyFile, expires_at: datetime | None, now: datetime
) -> tuple[str, KeySecret]:
    taken = {secret.id for entry in file.content.keys for secret in entry.secrets}
    key_id, key = new_key(taken)
    sha256 = sha256_of(key).hex()
    return key, KeySecret(id=key_id, sha256=sha256, created_at=now, expires_at=expires_at)


def _secrets_of(entry: KeyEntry) -> tuple[PreviousSecret, ...]:
    return tuple(PreviousSecret(secret.id, secret.expires_at) for secret in entry.secrets)


def _same_lifetime(old: KeyEntry, now: datetime) -> datetime | None:
    """When a new secret ends if it lives as long as the newest of a key; None for never."""
    latest_first = reversed(old.secrets)  # of two that were made within a second, the later counts
    newest = max(latest_first, key=lambda secret: secret.created_at)
    if newest.expires_at is None:
        return None
    try:
        return now + (newest.expires_at - newest.created_at)
    except OverflowError:  # made until the year 9999
        return _LAST_TIME


def _ending(secret: KeySecret, until: datetime) -> KeySecret:
    ends = until if secret.expires_at is None else min(secret.expires_at, until)
    return secret.model_copy(update={"expires_at": ends})


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)
