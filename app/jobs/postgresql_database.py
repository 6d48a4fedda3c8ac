"""Jobs in PostgreSQL: for workers on many machines. Needs psycopg, which is imported late."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from app.core.errors import SettingsError
from app.core.slide_errors import ExtraMissingError, JobsUnavailableError
from app.jobs.database import Row, Transaction, Value

if TYPE_CHECKING:
    import psycopg

_OPTIONS: Final[dict[str, Any]] = {
    # Without these, a thread would wait for hours for a server whose network has gone.
    "connect_timeout": 5,
    "tcp_user_timeout": 10_000,  # milliseconds
    "keepalives_idle": 10,  # seconds, as the next one
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "application_name": "osteo",
}
_NOW: Final = "SELECT CAST(EXTRACT(EPOCH FROM CLOCK_TIMESTAMP()) AS DOUBLE PRECISION)"
_SET_UP_LOCK: Final = 0x6F7374656F  # "osteo"; two programs that make tables at once would collide


class PostgresqlDatabase:
    """A database of a server; one connection, which is replaced when it is lost."""

    skip_locked: Final = "FOR UPDATE SKIP LOCKED"

    def __init__(self, url: str) -> None:
        """Connect to nothing yet.

        Args:
            url: `postgresql://USER:PASSWORD@HOST/DATABASE`; `postgresql+psycopg://` is the same.

        Raises:
            SettingsError: it is no URL of PostgreSQL.
            ExtraMissingError: psycopg is not installed.
        """
        self._conninfo = _conninfo(url)
        self._lock = threading.Lock()
        self._connection: psycopg.Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """See `Database.transaction`."""
        from psycopg import Error

        with self._lock:
            try:
                connection, now = self._begun()
                yield _PostgresqlTransaction(connection, now)
                connection.commit()
            except Error as error:
                self._disconnect()
                raise JobsUnavailableError(str(error).strip()) from error
            except BaseException:
                self._disconnect()
                raise

    def has_table(self, name: str, transaction: Transaction) -> bool:
        """See `Database.has_table`."""
        transaction.rows("SELECT pg_advisory_xact_lock(:lock)", lock=_SET_UP_LOCK)
        return transaction.rows("SELECT to_regclass(:name)", name=name) != [(None,)]

    def close(self) -> None:
        """See `Database.close`."""
        with self._lock:
            self._disconnect()

    def _begun(self) -> tuple[psycopg.Connection, float]:
        """A connection in a transaction, and the server's time.

        An idle connection may have been lost, which its first statement shows. Nothing was done
        yet, so that a new connection is tried at once.
        """
        from psycopg import OperationalError

        if self._connection is not None:
            try:
                return self._connection, _now(self._connection)
            except OperationalError:
                self._disconnect()
        import psycopg

        self._connection = psycopg.connect(self._conninfo)
        return self._connection, _now(self._connection)

    def _disconnect(self) -> None:
        """Close the connection, which undoes a transaction that was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()


class _PostgresqlTransaction:
    def __init__(self, connection: psycopg.Connection, now: float) -> None:
        self._connection = connection
        self.now = now

    def rows(self, statement: str, **values: Value) -> list[Row]:
        return self._connection.execute(_in_psycopg(statement), values).fetchall()

    def change(self, statement: str, **values: Value) -> int:
        return self._connection.execute(_in_psycopg(statement), values).rowcount


def _now(connection: psycopg.Connection) -> float:
    ((now,),) = connection.execute(_NOW).fetchall()
    return float(now)


@lru_cache
def _in_psycopg(statement: str) -> str:
    """Write the placeholders as psycopg wants them: `%(name)s` for `:name`."""
    return re.sub(r":(\w+)", r"%(\1)s", statement)


def _conninfo(url: str) -> str:
    """Check a URL and add time-outs to it; errors do not show it, because it may hold a password.

    Raises:
        SettingsError: it is no URL of PostgreSQL.
        ExtraMissingError: psycopg is not installed.
    """
    try:
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict, make_conninfo
    except ModuleNotFoundError as error:
        raise ExtraMissingError("A queue of jobs in PostgreSQL", "postgresql") from error
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in {"postgresql", "postgres", "postgresql+psycopg"}:
        raise SettingsError(
            "OSTEO_JOBS_URL is not a URL of PostgreSQL, such as postgresql://osteo@db/osteo."
        )
    try:
        given = conninfo_to_dict(f"postgresql://{rest}")
    except ProgrammingError:
        raise SettingsError(
            "OSTEO_JOBS_URL cannot be read; write special characters of the password as in %40 "
            "for @."
        ) from None
    if "@" in str(given.get("host", "")):  # a part of the password, which errors would show
        raise SettingsError(
            "OSTEO_JOBS_URL has more than one @ before its host; write an @ of the password as %40."
        )
    return make_conninfo(**{**_OPTIONS, **given})
