"""A PostgreSQL server of the benchmark's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# The tests start one in the same way, and a benchmark is run by those who have them.
from tests.audit.postgresql import Cluster, NoPostgresqlError


@contextmanager
def postgresql() -> Iterator[str | None]:
    """The URL of an empty database; None if PostgreSQL is not installed."""
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        try:
            cluster = Cluster(folder)
        except NoPostgresqlError:
            yield None
            return
        try:
            yield cluster.url()
        finally:
            cluster.stop("fast")
    finally:
        shutil.rmtree(folder)
