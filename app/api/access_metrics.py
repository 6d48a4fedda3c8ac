"""Show access control and audit in the metrics."""

from __future__ import annotations

import time
from collections.abc import Sequence

from app.access.authenticator import Authenticator
from app.access.rate_limits import RateLimits
from app.audit.writer import AuditWriter
from app.telemetry.metrics import Metrics


def watch_access(metrics: Metrics, authenticator: Authenticator, limits: RateLimits) -> None:
    """Read on every scrape when keys expire, and how the parts on other machines do."""
    metrics.access_open.set(not authenticator.is_required)

    def key_expiry() -> float | None:
        left_s = authenticator.keys.soonest_expiry_s
        return None if left_s is None else time.time() + left_s

    metrics.key_expiry.read = key_expiry
    tokens = authenticator.tokens
    if tokens is not None:
        metrics.identity_provider_fetches.read = lambda: tokens.n_fetches
        metrics.identity_provider_failures.read = lambda: tokens.n_failed_fetches
    if limits.is_shared:
        metrics.rate_limit_storage_failures.read = lambda: limits.n_unavailable


def watch_audit(metrics: Metrics, writer: AuditWriter | None) -> None:
    """Read on every scrape how the audit does; no values without one."""
    if writer is None:
        return
    metrics.audit_records.read = lambda: writer.n_written
    metrics.audit_records_dropped.read = lambda: writer.n_dropped
    metrics.audit_records_waiting.read = lambda: writer.n_waiting
    metrics.audit_failing.read = lambda: float(writer.is_failing)

    def head() -> tuple[Sequence[str], float] | None:
        logged = writer.logged_head
        return ((logged.chain, logged.hash), logged.seq) if logged else None

    metrics.audit_head.read = head
