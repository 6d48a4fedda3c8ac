"""Where the audit is, which chain is ours, and the store behind it."""

from __future__ import annotations

import re
import socket
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

from app.core.errors import SettingsError
from app.settings import Settings
from app.settings.hosts import is_loopback

if TYPE_CHECKING:
    from app.audit.store import AuditStore

Mode = Literal["off", "on", "required"]

FILE_NAME: Final = "audit.sqlite3"
_MAX_CHAIN_LENGTH: Final = 128


def make_store(url: str) -> AuditStore:
    """The store of a URL, not yet opened.

    Raises:
        SettingsError: the URL is malformed, or an optional package is missing; the sentence says
            which.
    """
    try:
        from app.audit.store import AuditStore
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "sqlalchemy":
            raise
        raise SettingsError(
            "The audit needs the package sqlalchemy: pip install 'osteo-tiles[audit]', or "
            "'osteo-tiles[postgresql]' for PostgreSQL. OSTEO_AUDIT=off records nothing."
        ) from error
    return AuditStore(url)


def audit_url(settings: Settings) -> str:
    """The URL of the database of the audit; it may hold a password."""
    if settings.audit_url is not None:
        return settings.audit_url.get_secret_value()
    return f"sqlite:///{_default_file(settings)}"


def audit_mode(settings: Settings) -> Mode:
    """The mode, with the default: `off` on a loopback address, `on` elsewhere."""
    if settings.audit is not None:
        return settings.audit
    return "off" if is_loopback(settings.host) else "on"


def is_recorded_by_commands(settings: Settings) -> bool:
    """Whether commands such as `osteo keys` record what they change.

    Without `OSTEO_AUDIT` they do so too: a command often runs without the address that the service
    listens on, and before the service has created the audit. Where the packages are not installed
    and nothing is kept, there is no audit that could miss the change.
    """
    if settings.audit is None and find_spec("sqlalchemy") is None:
        is_kept = settings.audit_url is not None or _may_exist(_default_file(settings))
        return is_kept or audit_mode(settings) != "off"
    return settings.audit != "off"


def chain_of(settings: Settings) -> str:
    """The name of this replica's chain."""
    return settings.replica or _host_name()


def command_chain() -> str:
    """The name of the chain of commands that run on this host."""
    return f"{_host_name()[: _MAX_CHAIN_LENGTH - 4]}-cli"


def _host_name() -> str:
    name = re.sub(r"[^A-Za-z0-9._-]", "-", socket.gethostname())
    return name[:_MAX_CHAIN_LENGTH] or "unnamed"


def _default_file(settings: Settings) -> Path:
    return settings.state_dir.absolute() / FILE_NAME


def _may_exist(file: Path) -> bool:
    try:
        return file.exists()
    except OSError:  # a folder that this user may not enter; opening the file says so
        return True
