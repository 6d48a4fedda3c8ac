"""What commands record: changes of keys, and prunes. Their chain is `HOST-cli`."""

from __future__ import annotations

import getpass
import os
from dataclasses import asdict, is_dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from app.audit.chain import Head
from app.audit.chain_writer import ChainWriter
from app.audit.opening import audit_url, command_chain, is_recorded_by_commands, make_store
from app.audit.records import AuditRecord, format_time
from app.audit.store_errors import ChainTakenError, StoreError
from app.core.errors import SettingsError
from app.settings import Settings

if TYPE_CHECKING:
    from app.audit.store import AuditStore

_ATTEMPTS: Final = 100
"""Commands that run at once on a host append to one chain in turn."""


def record_key_change(settings: Settings, change: object) -> Head | None:
    """Record a change of a key, made by a command; call it before the change is made known.

    Args:
        settings: they say whether and where there is an audit.
        change: a dataclass or a mapping of plain values and times; it must hold no secret.

    Returns:
        The record's place; None if nothing is recorded here.

    Raises:
        SettingsError: the audit cannot be written; the sentence says why.
    """
    if not is_recorded_by_commands(settings):
        return None
    store = make_store(audit_url(settings))
    try:
        store.create()
        return append_by_command(
            store,
            AuditRecord(
                event="key-change",
                caller=user_name(),
                caller_kind="command",
                details=_plain(change),
            ),
        )
    except (StoreError, ChainTakenError) as error:
        raise SettingsError(
            f"The change cannot be recorded in the audit {store.name}: {error}. OSTEO_AUDIT_URL "
            "says where the audit is; OSTEO_AUDIT=off records nothing."
        ) from error
    finally:
        store.close()


def append_by_command(store: AuditStore, record: AuditRecord) -> Head:
    """Append a record to the chain of this host's commands, after those of other processes.

    Raises:
        StoreError: the database cannot be written.
        ChainTakenError: others append without a break.
    """
    for attempt in range(_ATTEMPTS):
        writer = ChainWriter(store, command_chain())
        try:
            writer.append([record])
        except ChainTakenError:  # the next attempt begins at the new end of the chain
            if attempt == _ATTEMPTS - 1:
                raise
        else:
            break
    return writer.head


def user_name() -> str:
    """Who runs the command, also behind sudo."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        name = f"user {os.getuid()}"
    by = os.environ.get("SUDO_USER")
    return f"{name} (sudo by {by})" if by else name


def _plain(value: Any) -> Any:
    """Plain JSON of a dataclass, with times as text and sets in order."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items() if member is not None}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, datetime):
        return format_time(value)
    return value if isinstance(value, str | int | float | bool) else str(value)
