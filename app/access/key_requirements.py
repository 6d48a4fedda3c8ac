"""What a name, a subject and an expiry must be before a key is made or changed."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from app.access.key_file import NAME_PATTERN, KeyEntry, OpenKeyFile
from app.access.key_text import key_id_of, mask_keys
from app.core.errors import SettingsError


def entry_in_use(file: OpenKeyFile, name: str) -> KeyEntry:
    """The key with this name.

    Raises:
        SettingsError: there is none, or it was revoked.
    """
    found = next((entry for entry in file.content.keys if entry.name == name), None)
    if found is None:
        raise SettingsError(
            f"There is no key named {_quoted(name)} in {file.path}. `osteo keys list` lists the "
            "names."
        )
    if found.revoked_at is not None:
        raise SettingsError(
            f"The key {name!r} was revoked on {_day(found.revoked_at)}, which is final. "
            "Create a key with another name."
        )
    return found


def require_name(name: str) -> None:
    """Refuse what is not a name for a key.

    Raises:
        SettingsError: it is a key itself, or does not match `NAME_PATTERN`.
    """
    if key_id_of(name) is not None:  # a name appears in logs
        raise SettingsError("This is an API key, not a name for one. Name who will use the key.")
    if not re.match(NAME_PATTERN, name) or name.endswith("\n"):
        raise SettingsError(
            f"{_quoted(name)} is not a name for a key. Use 1 to 64 letters, digits, dots, "
            "underscores, hyphens and @, and begin with a letter or a digit."
        )


def _quoted(name: str) -> str:
    """What was typed as a name, for an error: somebody may have pasted the whole key."""
    return repr(mask_keys(name)[:80])


def require_free(entry: KeyEntry, name: str, subject: str | None) -> None:
    """Refuse a name or a subject that a key has already.

    Raises:
        SettingsError: the key has the name, or is in use and names the subject.
    """
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


def require_future(expires_at: datetime | None, now: datetime) -> None:
    """Refuse a key that would never be valid.

    Raises:
        SettingsError: the time is over.
    """
    if expires_at is not None and expires_at <= now:
        raise SettingsError(
            f"A key that expires on {_day(expires_at)} would never be valid. Give a later time."
        )


def _day(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d}"
