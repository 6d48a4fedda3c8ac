"""The statements of the lease table; SQLite and PostgreSQL understand the same ones."""

from __future__ import annotations

from typing import Final

SCHEMA_VERSION: Final = 1
SCHEMA: Final = (
    "CREATE TABLE slide_jobs_schema (version INTEGER NOT NULL)",
    """
CREATE TABLE slide_jobs (
  id TEXT PRIMARY KEY, state TEXT NOT NULL, slide_id TEXT NOT NULL, request TEXT NOT NULL,
  attempts INTEGER NOT NULL, progress TEXT NOT NULL, failure TEXT,
  created DOUBLE PRECISION NOT NULL, started DOUBLE PRECISION, finished DOUBLE PRECISION,
  queued DOUBLE PRECISION NOT NULL,
  worker TEXT, lease_s DOUBLE PRECISION, lease_until DOUBLE PRECISION
)
""",
    "CREATE INDEX slide_jobs_by_state ON slide_jobs (state, queued)",
    "CREATE INDEX slide_jobs_by_slide ON slide_jobs (slide_id)",
)
SET_VERSION: Final = "INSERT INTO slide_jobs_schema VALUES (:version)"
GET_VERSION: Final = "SELECT version FROM slide_jobs_schema"

SUBMIT: Final = """
INSERT INTO slide_jobs (id, state, slide_id, request, attempts, progress, created, queued)
VALUES (:id, 'queued', :slide_id, :request, 0, :progress, :now, :now)
ON CONFLICT (id) DO UPDATE SET
  state = 'queued', slide_id = :slide_id, request = :request, attempts = 0, progress = :progress,
  failure = NULL, created = :now, started = NULL, finished = NULL, queued = :now,
  worker = NULL, lease_s = NULL, lease_until = NULL
WHERE slide_jobs.state IN ('failed', 'cancelled')
"""
GET: Final = """
SELECT id, state, request, attempts, progress, failure, created, started, finished
FROM slide_jobs WHERE id = :id
"""
LIST: Final = """
SELECT id, state, request, attempts, progress, failure, created, started, finished
FROM slide_jobs WHERE CAST(:slide_id AS TEXT) IS NULL OR slide_id = CAST(:slide_id AS TEXT)
ORDER BY created DESC, id LIMIT :limit_jobs
"""
LIST_ACTIVE: Final = """
SELECT id, state, request, attempts, progress, failure, created, started, finished
FROM slide_jobs WHERE state IN ('queued', 'running')
ORDER BY created DESC, id
"""
COUNT: Final = "SELECT state, COUNT(*) FROM slide_jobs GROUP BY state"
CANCEL: Final = """
UPDATE slide_jobs SET state = 'cancelled', finished = :now
WHERE id = :id AND state IN ('queued', 'running')
"""
DELETE: Final = """
DELETE FROM slide_jobs WHERE id = :id AND state IN ('succeeded', 'failed', 'cancelled')
"""

SHORTEN_LEASES: Final = """
UPDATE slide_jobs SET lease_until = :now + lease_s
WHERE state = 'running' AND lease_until > :now + lease_s
"""
"""A clock that was set back would keep a dead worker's lease alive for as long as that."""
FAIL_EXHAUSTED: Final = """
UPDATE slide_jobs SET state = 'failed', failure = :failure, finished = :now
WHERE state = 'running' AND lease_until < :now AND attempts >= :max_attempts
"""
FIND_OLDEST: Final = """
SELECT id FROM slide_jobs
WHERE state = 'queued' OR (state = 'running' AND lease_until < :now)
ORDER BY queued, id LIMIT 1
"""
TAKE: Final = """
UPDATE slide_jobs SET
  state = 'running', attempts = attempts + 1, started = COALESCE(started, :now),
  worker = :worker, lease_s = :lease_s, lease_until = :now + :lease_s
WHERE id = :id
"""

# The worker that has the job may change it; one that lost it changes nothing.
RENEW: Final = """
UPDATE slide_jobs SET lease_s = :lease_s, lease_until = :now + :lease_s, progress = :progress
WHERE id = :id AND worker = :worker AND state = 'running'
"""
FINISH: Final = """
UPDATE slide_jobs SET state = :state, failure = :failure, finished = :now
WHERE id = :id AND worker = :worker AND state = 'running'
"""
FAIL_LAST_ATTEMPT: Final = """
UPDATE slide_jobs SET state = 'failed', failure = :failure, finished = :now
WHERE id = :id AND worker = :worker AND state = 'running' AND attempts >= :max_attempts
"""
QUEUE_AGAIN: Final = """
UPDATE slide_jobs SET state = 'queued', queued = :now, progress = :progress
WHERE id = :id AND worker = :worker AND state = 'running'
"""
GIVE_BACK: Final = """
UPDATE slide_jobs SET state = 'queued', attempts = attempts - 1, progress = :progress
WHERE id = :id AND worker = :worker AND state = 'running'
"""
