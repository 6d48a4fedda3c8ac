"""Jobs in one table of a database, with leases; the same statements for SQLite and PostgreSQL.

Nobody has to notice that a worker died: its lease runs out. A worker that was only thought dead
finds at its next renewal that another one has its job.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from app.core.slide_errors import JobsUnavailableError
from app.jobs import statements
from app.jobs.database import Database, Transaction
from app.jobs.job_rows import job_of
from app.jobs.queue import ALL_JOBS
from app.jobs.records import (
    MAX_ATTEMPTS,
    Job,
    JobFailure,
    JobProgress,
    JobRequest,
    JobState,
)

_LOST: Final = JobFailure(
    code="worker-lost",
    detail=f"The worker died or could not be reached in each of {MAX_ATTEMPTS} attempts. Its log "
    "and that of its machine may say why, such as too little memory.",
)


class LeaseTable:
    """The queue; see `JobQueue` for what its methods promise."""

    def __init__(self, database: Database) -> None:
        """Use a database; its tables are made when they are first needed."""
        self._database = database
        self._has_tables = False

    def submit(self, request: JobRequest) -> tuple[Job, bool]:
        """See `JobQueue.submit`."""
        with self._transaction() as transaction:
            is_new = transaction.change(
                statements.SUBMIT,
                id=request.key,
                slide_id=request.slide_id,
                request=request.model_dump_json(),
                progress=JobProgress().model_dump_json(),
                now=transaction.now,
            )
            job = _job(transaction, request.key)
        if job is None:
            raise JobsUnavailableError("a job that was stored cannot be found")
        return job, bool(is_new)

    def get(self, job_id: str) -> Job | None:
        """See `JobQueue.get`."""
        with self._transaction() as transaction:
            return _job(transaction, job_id)

    def list(self, slide_id: str | None = None, limit_jobs: int = ALL_JOBS) -> Sequence[Job]:
        """See `JobQueue.list`."""
        with self._transaction() as transaction:
            rows = transaction.rows(statements.LIST, slide_id=slide_id, limit_jobs=limit_jobs)
        return [job_of(row) for row in rows]

    def active(self) -> Sequence[Job]:
        """See `JobQueue.active`."""
        with self._transaction() as transaction:
            rows = transaction.rows(statements.LIST_ACTIVE)
        return [job_of(row) for row in rows]

    def cancel(self, job_id: str) -> Job | None:
        """See `JobQueue.cancel`."""
        with self._transaction() as transaction:
            transaction.change(statements.CANCEL, id=job_id, now=transaction.now)
            return _job(transaction, job_id)

    def delete(self, job_id: str) -> bool:
        """See `JobQueue.delete`."""
        with self._transaction() as transaction:
            return transaction.change(statements.DELETE, id=job_id) == 1

    def lease(self, worker: str, lease_s: float) -> Job | None:
        """See `JobQueue.lease`."""
        with self._transaction() as transaction:
            now = transaction.now
            transaction.change(statements.SHORTEN_LEASES, now=now)
            transaction.change(
                statements.FAIL_EXHAUSTED,
                failure=_LOST.model_dump_json(),
                max_attempts=MAX_ATTEMPTS,
                now=now,
            )
            query = statements.FIND_OLDEST + self._database.skip_locked
            found = transaction.rows(query, now=now)
            if not found:
                return None
            ((job_id,),) = found
            transaction.change(statements.TAKE, id=job_id, worker=worker, lease_s=lease_s, now=now)
            return _job(transaction, job_id)

    def renew(self, job_id: str, worker: str, lease_s: float, progress: JobProgress) -> bool:
        """See `JobQueue.renew`."""
        with self._transaction() as transaction:
            n_renewed = transaction.change(
                statements.RENEW,
                id=job_id,
                worker=worker,
                lease_s=lease_s,
                progress=progress.model_dump_json(),
                now=transaction.now,
            )
        return n_renewed == 1

    def finish(self, job_id: str, worker: str, failure: JobFailure | None) -> bool:
        """See `JobQueue.finish`."""
        with self._transaction() as transaction:
            n_finished = transaction.change(
                statements.FINISH,
                id=job_id,
                worker=worker,
                state=JobState.SUCCEEDED if failure is None else JobState.FAILED,
                failure=None if failure is None else failure.model_dump_json(),
                now=transaction.now,
            )
        return n_finished == 1

    def release(self, job_id: str, worker: str, failure: JobFailure | None = None) -> None:
        """See `JobQueue.release`."""
        with self._transaction() as transaction:
            job = _job(transaction, job_id)
            if job is None:
                return
            own = {"id": job_id, "worker": worker}
            waiting = {"stage": "waiting", "tiles_per_s": None, "remaining_s": None}
            progress = job.progress.model_copy(update=waiting).model_dump_json()
            if failure is None:
                transaction.change(statements.GIVE_BACK, **own, progress=progress)
                return
            has_failed = transaction.change(
                statements.FAIL_LAST_ATTEMPT,
                **own,
                failure=failure.model_dump_json(),
                max_attempts=MAX_ATTEMPTS,
                now=transaction.now,
            )
            if not has_failed:  # at the end of the queue, so that it does not hold up the others
                now = transaction.now
                transaction.change(statements.QUEUE_AGAIN, **own, progress=progress, now=now)

    def counts(self) -> Mapping[JobState, int]:
        """See `JobQueue.counts`."""
        with self._transaction() as transaction:
            rows = transaction.rows(statements.COUNT)
        return dict.fromkeys(JobState, 0) | {JobState(state): count for state, count in rows}

    def close(self) -> None:
        """See `JobQueue.close`."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[Transaction]:
        with self._database.transaction() as transaction:
            if not self._has_tables:
                _make_tables(self._database, transaction)
            yield transaction
        self._has_tables = True


def _make_tables(database: Database, transaction: Transaction) -> None:
    """Make the tables unless they are there, and check their version.

    Raises:
        JobsUnavailableError: another version of this program made them.
    """
    if not database.has_table("slide_jobs_schema", transaction):
        for statement in statements.SCHEMA:
            transaction.change(statement)
        transaction.change(statements.SET_VERSION, version=statements.SCHEMA_VERSION)
    ((version,),) = transaction.rows(statements.GET_VERSION)
    if version != statements.SCHEMA_VERSION:
        raise JobsUnavailableError(
            f"the tables of jobs have version {version}, and this program knows version "
            f"{statements.SCHEMA_VERSION}; use the program that made them, or an empty database"
        )


def _job(transaction: Transaction, job_id: str) -> Job | None:
    rows = transaction.rows(statements.GET, id=job_id)
    return job_of(rows[0]) if rows else None
