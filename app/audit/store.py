"""The table of the audit in SQLite or PostgreSQL. `opening` imports it: SQLAlchemy is optional."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.schema import CreateIndex, CreateTable

from app.audit.chain import Head, Row
from app.audit.engines import checked_url, create_file, engine_of
from app.audit.open_files import OpenFiles
from app.audit.store_errors import ChainTakenError, StoreError
from app.audit.tables import AUDIT, METADATA, SCHEMA, SCHEMA_VERSION
from app.core.errors import SettingsError

# What the database says; `sqlite3.Error` comes from `engines`. Others are faults of ours.
_FAILURES: Final = (DBAPIError, sa.exc.TimeoutError, sqlite3.Error)
_COLUMNS: Final = tuple(field.name for field in fields(Row))


class AuditStore:
    """Reads and appends rows.

    Attributes:
        name: the database, without a password and without the URL's query, which may hold one
            too, for sentences and logs.
    """

    def __init__(self, url: str) -> None:
        """Prepare the connection; nothing is opened yet.

        Args:
            url: SQLAlchemy URL of a SQLite file or a PostgreSQL database.

        Raises:
            SettingsError: the URL is malformed, or the driver is not installed.
        """
        self._url = checked_url(url)
        self.name = self._url.set(query={}).render_as_string(hide_password=True)
        self._engine = engine_of(self._url)
        is_file = self._url.get_backend_name() == "sqlite"
        self._files = OpenFiles(self._url.database or "", self._engine) if is_file else None

    def create(self) -> None:
        """Create folder, file and tables if they are missing.

        Raises:
            SettingsError: the tables are those of another version of the program.
            StoreError: the database cannot be opened.
        """
        if self._files is not None and self._url.database:
            # An attempt that failed may have left connections to a file that is gone. They must be
            # closed first: opening and closing the file here would release their locks.
            self._engine.dispose()
            self._files.forget()
            create_file(Path(self._url.database))
        for is_last in (False, False, True):
            if self._has_tables():  # a role that may only read and insert is enough then
                break
            try:
                self._create_tables()
            except StoreError:  # in PostgreSQL, also if another process creates them at this moment
                if is_last:
                    raise
        self._require_version()

    def open(self) -> None:
        """Check that the tables exist; nothing is created.

        Raises:
            SettingsError: there is no audit, or it is of another version of the program.
            StoreError: the database cannot be opened.
        """
        if self._files is not None and not Path(self._url.database or "").exists():
            raise SettingsError(f"There is no audit at {self.name}: no such file.")
        with self._reading() as connection:
            is_there = sa.inspect(connection).has_table(SCHEMA.name)
        if not is_there:
            raise SettingsError(f"There is no audit at {self.name}: it has no table of that kind.")
        self._require_version()

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    def require_same_files(self) -> None:
        """Check that the files of SQLite are still at their paths; does nothing for PostgreSQL.

        Raises:
            StoreError: one was removed, renamed or replaced while it was open.
        """
        if self._files is not None:
            with self._reading():
                pass  # every read checks them at its end

    def tail(self, chain: str) -> Head | None:
        """The last record of a chain; None if it has none. Raises StoreError."""
        query = sa.select(AUDIT.c.chain, AUDIT.c.seq, AUDIT.c.hash)
        query = query.where(AUDIT.c.chain == chain).order_by(AUDIT.c.seq.desc()).limit(1)
        with self._reading() as connection:
            found = connection.execute(query).one_or_none()
        return None if found is None else Head(*found)

    def heads(self, limit: int) -> list[Head]:
        """The last records of the chains that were written to most recently. Raises StoreError."""
        names, other = _chains_query().subquery(), AUDIT.alias()
        last = sa.select(sa.func.max(other.c.seq)).where(other.c.chain == names.c.chain)
        ends = sa.select(names.c.chain, last.scalar_subquery().label("seq")).subquery()
        is_end = (AUDIT.c.chain == ends.c.chain) & (AUDIT.c.seq == ends.c.seq)
        query = sa.select(AUDIT.c.chain, AUDIT.c.seq, AUDIT.c.hash).join(ends, is_end)
        query = query.order_by(AUDIT.c.at.desc(), AUDIT.c.chain).limit(limit)
        with self._reading() as connection:
            return [Head(*found) for found in connection.execute(query)]

    def chains(self) -> list[str]:
        """The names of all chains. Raises StoreError."""
        with self._reading() as connection:
            return list(connection.scalars(_chains_query()))

    def hash_at(self, chain: str, seq: int) -> str | None:
        """The hash of a record; None if it is missing. Raises StoreError."""
        query = sa.select(AUDIT.c.hash).where(AUDIT.c.chain == chain, AUDIT.c.seq == seq)
        with self._reading() as connection:
            return connection.execute(query).scalar_one_or_none()

    def insert(self, rows: Sequence[Row]) -> None:
        """Append rows in one transaction; rows that are already there are fine.

        Raises:
            ChainTakenError: other rows are in the place of these.
            StoreError: the rows could not be written, or it is not known whether they were.
        """
        try:
            with self._writing() as connection:
                connection.execute(sa.insert(AUDIT), list(map(_values_of, rows)))
        except _TakenError:
            last = rows[-1]
            # A batch is one transaction, so its last row tells of all.
            if self.hash_at(last.chain, last.seq) != last.hash:
                raise ChainTakenError(last.chain, rows[0].seq) from None

    def replace(self, chain: str, last_seq: int, seal: Row) -> None:
        """Remove a chain's rows up to a number, and put a seal there, in one transaction.

        Raises:
            StoreError: the database failed; nothing was removed.
        """
        removed = sa.delete(AUDIT).where(AUDIT.c.chain == chain, AUDIT.c.seq <= last_seq)
        try:
            with self._writing() as connection:
                connection.execute(removed)
                connection.execute(sa.insert(AUDIT), [_values_of(seal)])
        except _TakenError as error:
            raise StoreError(f"another process prunes the chain {chain}") from error

    def rows(self, query: sa.Select[Any]) -> list[Row]:
        """The rows that a query of all columns returns. Raises StoreError."""
        with self._reading() as connection:
            return [Row(*found) for found in connection.execute(query)]

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        try:
            with self._engine.connect() as connection:
                yield connection
                self._check_files(connection)
        except _FAILURES as error:
            raise StoreError(reason_of(error)) from error

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that is committed at the end of the block."""
        is_committing = False
        try:
            with self._engine.connect() as connection, connection.begin() as transaction:
                yield connection
                # Before the commit, so that what is refused is not in a file that may come back.
                self._check_files(connection)
                is_committing = True
                transaction.commit()
        except IntegrityError as error:
            raise _TakenError from error
        except _FAILURES as error:
            was_lost = bool(getattr(error, "connection_invalidated", False))
            raise StoreError(reason_of(error), is_in_doubt=is_committing and was_lost) from error

    def _check_files(self, connection: sa.Connection) -> None:
        if self._files is not None:
            self._files.require_same(connection.info)

    def _has_tables(self) -> bool:
        with self._reading() as connection:
            is_there = sa.inspect(connection).has_table(SCHEMA.name)
            return is_there and connection.scalar(sa.select(SCHEMA.c.version)) is not None

    def _create_tables(self) -> None:
        dialect = postgresql if self._url.get_backend_name() == "postgresql" else sqlite
        row = dialect.insert(SCHEMA).values(id=1, version=SCHEMA_VERSION)
        try:
            with self._writing() as connection:
                # SQLite commits each of these, so another process may come in between.
                for table in METADATA.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in sorted(table.indexes, key=lambda index: str(index.name)):
                        connection.execute(CreateIndex(index, if_not_exists=True))
                connection.execute(row.on_conflict_do_nothing())
        except _TakenError as error:
            raise StoreError("another process creates the tables") from error

    def _require_version(self) -> None:
        with self._reading() as connection:
            version = connection.scalar(sa.select(SCHEMA.c.version))
        if version != SCHEMA_VERSION:
            raise SettingsError(
                f"The audit at {self.name} has schema version {version}; this program knows "
                f"version {SCHEMA_VERSION}. Use the program that wrote it, or another database."
            )


class _TakenError(Exception):
    """A row with this chain and sequence number exists."""


def _values_of(row: Row) -> dict[str, Any]:
    return {name: getattr(row, name) for name in _COLUMNS}  # `asdict` takes five times as long


def columns() -> tuple[sa.Column[Any], ...]:
    """All columns, in the order of `Row`."""
    return tuple(AUDIT.c[name] for name in _COLUMNS)


def reason_of(error: Exception) -> str:
    """The driver's words in one line, without the statement and its values."""
    original = getattr(error, "orig", None) or error
    lines = [line.strip() for line in str(original).splitlines() if line.strip()]
    return lines[0] if lines else type(original).__name__


def _chains_query() -> sa.Select[tuple[str]]:
    """All names of chains, by one look into the index each instead of a scan of all rows."""
    first = sa.select(sa.func.min(AUDIT.c.chain).label("chain")).cte("names", recursive=True)
    other = AUDIT.alias()
    following = sa.select(sa.func.min(other.c.chain)).where(other.c.chain > first.c.chain)
    names = first.union_all(
        sa.select(following.scalar_subquery()).where(first.c.chain.is_not(None))
    )
    return sa.select(names.c.chain).where(names.c.chain.is_not(None))
