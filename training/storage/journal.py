"""A journal: one line of JSON for each finished run, appended whole or not at all.

Lines are appended in one write and synced, and opening the journal cuts off an incomplete last
line, which a kill or a full disk may have left. The key identifies a run, so no finished run is
lost or repeated.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, Self, TypeVar

from pydantic import ValidationError

from training.errors import RunError
from training.storage.atomic import try_lock
from training.storage.disk import RESUMES, writing
from training.storage.frozen_model import FrozenModel


class JournalRecord(FrozenModel):
    """A finished run, identified by its key."""

    key: str


Record = TypeVar("Record", bound=JournalRecord)


class Journal(Generic[Record]):
    """The finished runs in one file, to which one process at a time may append."""

    def __init__(self, path: Path, kind: type[Record], warn: Callable[[str], None]) -> None:
        """Open the journal, creating it and its folder if they are missing.

        Args:
            path: the file.
            kind: class of its records.
            warn: called with a sentence if lines are damaged.

        Raises:
            RunError: another process has the journal open, or it is not writable.
        """
        self.path = path
        with writing(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("a+b", buffering=0)
        if not try_lock(self._stream):
            self._stream.close()
            raise RunError(
                f"Another process is using {path}. Wait for it, or choose another --out."
            )
        self._records = read_records(path, kind, warn)
        self._truncate(path.read_bytes().rfind(b"\n") + 1)

    def __enter__(self) -> Self:
        """The journal itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, which releases the lock."""
        self._stream.close()

    def get(self, key: str) -> Record | None:
        """The record of a run, or None if it is not finished."""
        return self._records.get(key)

    def append(self, records: Sequence[Record]) -> None:
        """Add finished runs.

        Raises:
            RunError: the disk is full; the journal is as it was before.
        """
        rest = memoryview(b"".join(r.model_dump_json().encode() + b"\n" for r in records))
        size = os.fstat(self._stream.fileno()).st_size
        with writing(self.path, after=RESUMES):
            try:
                while rest:
                    rest = rest[os.write(self._stream.fileno(), rest) :]
                os.fsync(self._stream.fileno())
            except OSError:
                self._truncate(size)
                raise
        self._records |= {record.key: record for record in records}

    def _truncate(self, size: int) -> None:
        os.ftruncate(self._stream.fileno(), size)


def read_records(path: Path, kind: type[Record], warn: Callable[[str], None]) -> dict[str, Record]:
    """All finished runs in a file by key, also while another process appends to it.

    Args:
        path: the file.
        kind: class of its records.
        warn: called with a sentence if lines are damaged; an incomplete last line is no damage.
    """
    content = path.read_bytes() if path.exists() else b""
    records, n_damaged = {}, 0
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            record = kind.model_validate_json(line)
        except ValidationError:
            n_damaged += 1
            continue
        records[record.key] = record
    if n_damaged:
        lines, runs = ("line", "that run is") if n_damaged == 1 else ("lines", "those runs are")
        warn(f"{path}: {n_damaged} damaged {lines}; {runs} done again.")
    return records
