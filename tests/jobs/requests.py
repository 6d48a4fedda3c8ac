"""Jobs to ask for, and what changes the rows of a queue behind its back."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

from app.jobs.records import JobParameters, JobRequest
from app.settings import Settings


def a_request(number: int = 0, **parameters: Any) -> JobRequest:
    """A job for the slide of this number."""
    sha256 = hashlib.sha256(str(number).encode()).hexdigest()
    return JobRequest(
        slide_id=sha256,
        slide_sha256=sha256,
        model_name="osteo-mobilenetv2",
        model_version="3",
        bundle_sha256="b" * 64,
        parameters=JobParameters(**parameters),
    )


def change_rows(settings: Settings, statement: str) -> None:
    """Change the table as a clock, a crash or another program would."""
    if settings.jobs_url is None:
        connection = sqlite3.connect(settings.state_dir / "jobs.sqlite3")
        with connection:
            connection.execute(statement)
        connection.close()
        return
    import psycopg

    url = settings.jobs_url.get_secret_value().replace("+psycopg", "")
    with psycopg.connect(url) as connected:
        connected.execute(statement.encode())


def end_leases(settings: Settings, worker: str = "%") -> None:
    """Let the leases of a worker, or of all, run out as time does."""
    which = f"state = 'running' AND worker LIKE '{worker}'"
    change_rows(settings, f"UPDATE slide_jobs SET lease_until = 0 WHERE {which}")  # noqa: S608 - our names
