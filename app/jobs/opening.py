"""Open what the settings name."""

from __future__ import annotations

from typing import Final

from app.jobs.lease_table import LeaseTable
from app.jobs.postgresql_database import PostgresqlDatabase
from app.jobs.queue import JobQueue
from app.jobs.sqlite_database import SqliteDatabase
from app.settings import Settings

FILE_NAME: Final = "jobs.sqlite3"
"""In `OSTEO_STATE_DIR`."""


def open_queue(settings: Settings) -> JobQueue:
    """The queue in `OSTEO_JOBS_URL`, or in a SQLite file; nothing is connected to yet.

    Raises:
        SettingsError: the URL cannot be used.
        ExtraMissingError: the driver of PostgreSQL is not installed.
    """
    if settings.jobs_url is not None:
        return LeaseTable(PostgresqlDatabase(settings.jobs_url.get_secret_value()))
    return LeaseTable(SqliteDatabase(settings.state_dir / FILE_NAME))
