"""Look up who an API key or a certificate's subject belongs to."""

from __future__ import annotations

import hmac
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from app.access.caller import Caller, Scope
from app.access.key_file import KeyEntry, KeyFile, Stamp, read_key_file, stamp_of
from app.access.key_text import key_id_of, sha256_of
from app.core.access_errors import CredentialsInvalidError
from app.core.errors import SettingsError
from app.telemetry.logs import LOGGER_NAME

LOOK_EVERY_S: Final = 0.5
"""How often the file is looked at for changes, at most."""
_UNKNOWN: Final = bytes(32)
"""Compared if no key has the id; no text is known whose SHA-256 is zero."""

_logger = logging.getLogger(LOGGER_NAME)


@dataclass(frozen=True, slots=True)
class GivenKey:
    """A key from the settings; any text.

    Attributes:
        name: the caller's name.
        secret: the key itself.
        scopes: what the caller may do.
    """

    name: str
    secret: SecretStr | str = field(repr=False)
    scopes: frozenset[Scope]


@dataclass(frozen=True, slots=True)
class _Secret:
    """A key's text as it is compared; times in seconds since 1970, infinite for never."""

    sha256: bytes
    expires_s: float
    is_revoked: bool
    caller: Caller


_NOBODY: Final = _Secret(_UNKNOWN, math.inf, False, Caller("nobody", "key", frozenset()))


class ApiKeys:
    """The keys of a file, read again when it changes, and those of the settings.

    A file that is removed leaves no keys. Subjects of certificates whose key was revoked or had
    expired stay refused while this process runs, unless a key in use names them: without the file
    they would be those of strangers, who may do something too. A file that becomes unreadable or
    invalid changes nothing: the last good keys stay valid, and an error is logged once for each
    change of the file.
    """

    def __init__(
        self,
        path: Path,
        given: Sequence[GivenKey] = (),
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Read the file.

        Args:
            path: the file of keys; it need not exist.
            given: keys of the settings; only their SHA-256 is kept.
            clock: seconds since 1970.
            monotonic: seconds of a clock that is never set.

        Raises:
            SettingsError: the file cannot be read or is not valid.
        """
        self._path = path
        self._clock = clock
        self._monotonic = monotonic
        self._given = tuple(_compared(key) for key in given)
        self._subjects: dict[str, _Secret] = {}
        content, stamp = read_key_file(path)
        self._adopt(content)
        self._seen: Stamp | str | None = stamp
        self._look_at_s = monotonic() + LOOK_EVERY_S

    def find(self, key: str) -> Caller:
        """Identify the caller that sends a key.

        Each call takes a SHA-256 and a comparison in constant time for the file, also if no key has
        the id, and one for each key of the settings, so the time says nothing about the keys.

        Raises:
            CredentialsInvalidError: the key is not right; `reason` is `unknown`, `expired` or
                `revoked`. Only a caller who knows the whole key learns of the last two.
        """
        self._look()
        sha256 = sha256_of(key)
        secret = self._secrets.get(key_id_of(key) or "", _NOBODY)
        found = secret if hmac.compare_digest(sha256, secret.sha256) else None
        for given in self._given:
            found = given if hmac.compare_digest(sha256, given.sha256) else found
        if found is None:
            raise CredentialsInvalidError("unknown", "The API key is not known.")
        if found.is_revoked:
            raise CredentialsInvalidError("revoked", "The API key has been revoked.")
        if found.expires_s <= self._clock():
            raise CredentialsInvalidError("expired", "The API key has expired.")
        return found.caller

    def find_subject(self, subject: str) -> Caller | None:
        """Identify the caller whose client certificate has this subject.

        Returns:
            None if no key names the subject.

        Raises:
            CredentialsInvalidError: the key that names it is `revoked` or `expired`: the
                certificate must not count as that of a stranger, who may do something too.
        """
        self._look()
        found = self._subjects.get(subject)
        if found is None:
            return None
        if found.is_revoked:
            raise CredentialsInvalidError("revoked", "The key of this certificate was revoked.")
        if found.expires_s <= self._clock():
            raise CredentialsInvalidError("expired", "The key of this certificate has expired.")
        return found.caller

    @property
    def is_empty(self) -> bool:
        """Whether no key is usable now, neither of the file nor of the settings."""
        self._look()
        return not self._given and not any(self._usable())

    @property
    def soonest_expiry_s(self) -> float | None:
        """Seconds until the next key expires; None if none will.

        A key expires with the last of its secrets: the old one of a rotation does not count.
        """
        self._look()
        ends = [entry.expires_at for entry in self._usable() if entry.expires_at is not None]
        return min(map(datetime.timestamp, ends)) - self._clock() if ends else None

    def _usable(self) -> Iterator[KeyEntry]:
        now = self._clock()
        for entry in self._entries:
            if entry.revoked_at is None and _expires_s(entry.expires_at) > now:
                yield entry

    def _look(self) -> None:
        """Read the file again if it has changed; at most every `LOOK_EVERY_S`."""
        now_s = self._monotonic()
        if now_s < self._look_at_s:
            return
        self._look_at_s = now_s + LOOK_EVERY_S
        seen = self._stamp()
        if seen == self._seen:
            return
        try:
            content, self._seen = read_key_file(self._path)
        except SettingsError as error:
            self._seen = seen
            _logger.error("api_keys_invalid", extra={"reason": str(error)})  # noqa: TRY400 - the traceback holds the file
        else:
            self._adopt(content)
            _logger.info("api_keys_read", extra={"n_keys": len(content.keys)})

    def _stamp(self) -> Stamp | str | None:
        """What the file looks like now; the reason if that cannot be said; None if it is gone."""
        try:
            return stamp_of(self._path.stat())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            return str(error.strerror)

    def _adopt(self, content: KeyFile) -> None:
        self._entries = content.keys
        self._secrets = {
            secret.id: _Secret(
                bytes.fromhex(secret.sha256),
                _expires_s(secret.expires_at),
                entry.revoked_at is not None,
                Caller(entry.name, "key", frozenset(entry.scopes)),
            )
            for entry in content.keys
            for secret in entry.secrets
        }
        # A subject may belong to a revoked key and to one in use; the one in use counts.
        ordered = sorted(content.keys, key=lambda entry: entry.revoked_at is None)
        now = self._clock()
        refused = {
            subject: known
            for subject, known in self._subjects.items()
            if known.is_revoked or known.expires_s <= now
        }
        self._subjects = refused | {
            entry.subject: _Secret(
                _UNKNOWN,
                _expires_s(entry.expires_at),
                entry.revoked_at is not None,
                Caller(entry.name, "certificate", frozenset(entry.scopes)),
            )
            for entry in ordered
            if entry.subject is not None
        }


def _expires_s(expires_at: datetime | None) -> float:
    return math.inf if expires_at is None else expires_at.timestamp()


def _compared(given: GivenKey) -> _Secret:
    secret = given.secret
    text = secret.get_secret_value() if isinstance(secret, SecretStr) else secret
    return _Secret(sha256_of(text), math.inf, False, Caller(given.name, "key", given.scopes))
