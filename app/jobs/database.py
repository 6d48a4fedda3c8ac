"""What a database must offer to hold jobs; SQLite and PostgreSQL do."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

Row = tuple[Any, ...]
Value = str | int | float | None


class Transaction(Protocol):
    """Statements that take effect together. Placeholders are written as `:name`."""

    @property
    def now(self) -> float:
        """When it began, in seconds since 1970, by a clock that all users of the database share."""

    def rows(self, statement: str, **values: Value) -> list[Row]:
        """The rows that a query finds."""

    def change(self, statement: str, **values: Value) -> int:
        """Change rows, and return how many there were."""


class Database(Protocol):
    """A database; any thread may call its methods."""

    @property
    def skip_locked(self) -> str:
        """Ends a query for a row to change, so that it passes over those that others change."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """Begin; commit at the end, and undo everything if an error is raised.

        Raises:
            JobsUnavailableError: the database cannot be used now.
        """

    def has_table(self, name: str, transaction: Transaction) -> bool:
        """Whether there is a table; nobody else makes one until the transaction ends."""

    def close(self) -> None:
        """Close the connection."""
