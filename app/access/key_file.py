"""The file of API keys: what it contains, and how it is read and replaced."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Annotated, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    model_validator,
)

from app.access.caller import Scope
from app.access.key_text import KEY_ID_PATTERN, mask_keys
from app.core.errors import SettingsError
from app.core.json_document import require_plain_json
from app.core.violations import describe_first_violation
from app.settings.access import AccessSettings

NAME_PATTERN: Final = r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$"
"""What a key's name must match: it appears in logs, in the audit and in tables."""
MAX_FILE_BYTES: Final = 16 * 1024**2
"""About 40,000 keys; what is larger is not a file of keys."""
_MODE: Final = 0o600
_ADVICE: Final = {
    errno.ENOSPC: "Make room",
    **dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), "Let this user write there"),
}


def _in_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("the time is out of range") from error


Time = Annotated[AwareDatetime, AfterValidator(_in_utc)]
Stamp = tuple[int, int, int, int, int]
"""Device, inode, size, and times of the last change of content and of status, in nanoseconds."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class KeySecret(_Part):
    """One text that a key accepts; during a rotation there are several.

    Attributes:
        id: the public part of the text.
        sha256: of the whole text, in hexadecimal.
        created_at: when it was made.
        expires_at: from then on it is refused; never if None.
    """

    id: Annotated[str, Field(pattern=KEY_ID_PATTERN)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    created_at: Time
    expires_at: Time | None = None


class KeyEntry(_Part):
    """A key: a name, what it may do, and the texts that it accepts.

    Attributes:
        name: identifies the caller.
        scopes: what the caller may do.
        created_at: when the key was made.
        subject: subject of a client certificate that identifies the same caller.
        secrets: at least one.
        revoked_at: since then the key is refused for good.
    """

    name: Annotated[str, Field(pattern=NAME_PATTERN)]
    scopes: Annotated[tuple[Scope, ...], Field(min_length=1)]
    created_at: Time
    subject: Annotated[str, Field(min_length=1, max_length=1024)] | None = None
    secrets: Annotated[tuple[KeySecret, ...], Field(min_length=1)]
    revoked_at: Time | None = None

    @property
    def expires_at(self) -> datetime | None:
        """When the last of its secrets expires; None if one never does."""
        ends = [secret.expires_at for secret in self.secrets]
        return None if None in ends else max(end for end in ends if end is not None)

    def is_expired(self, now: datetime) -> bool:
        """Whether all its secrets have expired."""
        return self.expires_at is not None and self.expires_at <= now


class KeyFile(_Part):
    """All keys of a service."""

    schema_version: Literal[1] = 1
    keys: tuple[KeyEntry, ...] = ()

    @model_validator(mode="after")
    def _require_distinct(self) -> Self:
        _require_no_doubles("name", (key.name for key in self.keys))
        _require_no_doubles("id", (secret.id for key in self.keys for secret in key.secrets))
        in_use = (key.subject for key in self.keys if key.subject and key.revoked_at is None)
        _require_no_doubles("subject", in_use)
        return self


def _require_no_doubles(what: str, values: Iterable[str]) -> None:
    seen = set[str]()
    for value in values:
        if value in seen:
            raise ValueError(f"the {what} {value!r} occurs twice")
        seen.add(value)


def keys_path(settings: AccessSettings) -> Path:
    """The file of API keys: `OSTEO_KEYS_FILE`, else `keys.json` in `OSTEO_STATE_DIR`."""
    return settings.keys_file or settings.state_dir / "keys.json"


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes with every change of a file.

    A Secret that Kubernetes mounts is a link to a link, whose target it replaces, so the status is
    that of the file at the end.
    """
    times = status.st_mtime_ns, status.st_ctime_ns
    return status.st_dev, status.st_ino, status.st_size, *times


def read_key_file(path: Path) -> tuple[KeyFile, Stamp | None]:
    """Read the keys, and the stamp of the very file that was read.

    Returns:
        No keys and no stamp if there is no such file.

    Raises:
        SettingsError: it cannot be read or is not a file of keys. The sentence holds no secret.
    """
    try:
        with path.open("rb") as stream:
            stamp = stamp_of(os.fstat(stream.fileno()))
            content = stream.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return KeyFile(), None
    except OSError as error:
        raise SettingsError(
            f"The file of API keys {path} cannot be read: {error.strerror}. Let this user read it, "
            "or name another file in OSTEO_KEYS_FILE."
        ) from error
    try:
        if len(content) > MAX_FILE_BYTES:
            raise ValueError(f"it is larger than {MAX_FILE_BYTES} bytes")  # noqa: TRY301 - as others
        require_plain_json(content)
        return KeyFile.model_validate_json(content), stamp
    except ValidationError as error:
        raise _invalid(path, describe_first_violation(error)) from error
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def _invalid(path: Path, reason: str) -> SettingsError:
    return SettingsError(
        f"The file of API keys {path} is not valid: {mask_keys(reason)}. Restore it from a copy, "
        "or correct it. A new file would not know which keys were revoked, and would accept their "
        "client certificates again."
    )


class OpenKeyFile:
    """The keys while this process alone may change them."""

    def __init__(self, path: Path) -> None:
        """Read the keys of a locked file.

        Raises:
            SettingsError: it cannot be read or is not a file of keys.
        """
        self.path = path
        self.content, _ = read_key_file(path)

    def replace(self, keys: Iterable[KeyEntry]) -> None:
        """Write these keys instead.

        Raises:
            OSError: the file cannot be written; the old one is unchanged.
        """
        self.content = KeyFile(keys=tuple(keys))
        text = self.content.model_dump_json(indent=2, exclude_none=True)
        _write_whole(self.path, f"{text}\n".encode())


@contextmanager
def opened_for_change(path: Path) -> Iterator[OpenKeyFile]:
    """Lock the file of keys, read it, and let the block replace it.

    Args:
        path: need not exist yet; its folder is created. A link is followed.

    Raises:
        SettingsError: the file cannot be read, is not valid, or cannot be written. In any case the
            old file stays as it was.
    """
    try:
        path = Path(
            os.path.realpath(path)
        )  # `Path.resolve` raises RuntimeError for a loop of links
        _make_folder(path.parent)
        with _open_lock(path) as stream:
            _wait_for_lock(stream)
            yield OpenKeyFile(path)
    except OSError as error:
        advice = _ADVICE.get(error.errno or 0, "Repair the disk")
        raise SettingsError(
            f"The file of API keys {path} cannot be written: {error.strerror}. Nothing was "
            f"changed. {advice}, or choose another file with OSTEO_KEYS_FILE or --file."
        ) from error


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from error


def _open_lock(path: Path) -> IO[bytes]:
    """Open the file beside the keys that processes lock; it stays, and is empty."""
    lock = path.with_name(f"{path.name}.lock")
    try:
        stream = os.fdopen(os.open(lock, os.O_RDWR | os.O_CREAT | os.O_EXCL, _MODE), "rb+")
    except FileExistsError:
        return os.fdopen(os.open(lock, os.O_RDWR), "rb+")
    _keep_owner(path, stream)  # only of a new file: an existing one could be a link to another
    return stream


def _wait_for_lock(stream: IO[bytes]) -> None:
    """Wait until no other process changes the keys; the lock ends with this process."""
    try:
        import fcntl
    except ImportError:  # Windows has no such locks
        return
    fcntl.flock(stream, fcntl.LOCK_EX)


def _write_whole(path: Path, content: bytes) -> None:
    """Replace a file by one that is on the disk; the caller holds the lock."""
    part = path.with_name(f"{path.name}.part")
    part.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _keep_owner(path, stream)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    _sync_folder(path.parent)


def _keep_owner(path: Path, stream: IO[bytes]) -> None:
    """Give the new file the owner of the old one, or of the folder.

    Otherwise root would leave a file that the service, which is another user, cannot read.
    """
    if os.name == "nt" or os.geteuid() != 0:
        return
    status = (path if path.exists() else path.parent).stat()
    with suppress(PermissionError):  # root without this right, as in some containers
        os.fchown(stream.fileno(), status.st_uid, status.st_gid)


def _sync_folder(folder: Path) -> None:
    """Make the new name last through a power cut."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
