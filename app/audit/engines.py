"""How SQLite and PostgreSQL are connected to. Imports SQLAlchemy, as `store` does."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Final

import sqlalchemy as sa
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from app.audit.store_errors import StoreError
from app.core.errors import SettingsError
from app.core.write_ahead_log import turn_on_write_ahead_log

BUSY_TIMEOUT_S: Final = 5.0
"""How long a process waits for another one that writes to the same SQLite file."""

_POSTGRESQL_OPTIONS: Final = {
    # Without these, a thread would wait for hours for a server whose network has gone.
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds
    "keepalives_idle": 10,  # seconds, as the next one
    "keepalives_interval": 5,
    "keepalives_count": 3,
}


def checked_url(text: str) -> URL:
    """Read a URL of SQLite or PostgreSQL.

    Raises:
        SettingsError: it is no URL, or that of another kind of database.
    """
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, ValueError):
        raise SettingsError(
            "OSTEO_AUDIT_URL is not a URL of a database, such as "
            "postgresql+psycopg://osteo@db/osteo or sqlite:////var/lib/osteo/audit.sqlite3."
        ) from None
    if backend not in {"sqlite", "postgresql"}:
        raise SettingsError(
            f"OSTEO_AUDIT_URL names a database of the kind {backend!r}; the audit is written to "
            "sqlite or postgresql."
        )
    if backend == "sqlite" and url.database in {None, "", ":memory:"}:
        raise SettingsError("OSTEO_AUDIT_URL names no file, so the audit would be lost at the end.")
    if backend == "sqlite" and "uri" in url.query:
        raise SettingsError(
            "OSTEO_AUDIT_URL has the option uri, with which the file of the audit cannot be told; "
            "write its path, such as sqlite:////var/lib/osteo/audit.sqlite3."
        )
    if "@" in (url.host or ""):  # a part of the password, which errors of the driver would show
        raise SettingsError(
            "OSTEO_AUDIT_URL has more than one @ before its host; write an @ of the password as "
            "%40."
        )
    return url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url


def engine_of(url: URL) -> sa.Engine:
    """Connections to a database, with time-outs and, for SQLite, durable commits.

    Raises:
        SettingsError: the driver is not installed.
    """
    try:
        if url.get_backend_name() == "postgresql":
            missing = {k: v for k, v in _POSTGRESQL_OPTIONS.items() if k not in url.query}
            return sa.create_engine(url, connect_args=missing)
        engine = sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"The audit in {url.get_backend_name()} needs the package {error.name}: "
            "pip install 'osteo-tiles[postgresql]'"
        ) from error
    except (ArgumentError, NoSuchModuleError, TypeError) as error:
        raise SettingsError(f"OSTEO_AUDIT_URL cannot be used: {error}.") from error
    sa.event.listen(engine, "connect", _make_durable)
    return engine


def _make_durable(connection: sqlite3.Connection, _record: object) -> None:
    """A commit of SQLite survives the loss of power, and readers do not stop the writer."""
    turn_on_write_ahead_log(connection, BUSY_TIMEOUT_S)
    connection.execute("PRAGMA synchronous = FULL")


def create_file(path: Path) -> None:
    """Make an empty file that only its owner reads; SQLite gives its other files the same mode.

    Raises:
        StoreError: the folder or the file cannot be made.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
