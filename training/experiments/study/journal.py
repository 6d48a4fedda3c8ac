"""The journal of a study: one line a finished run, added whole or not at all.

Whatever ends the process, the lines that are there are finished runs: a line is appended in one
write and synced, and what a kill or a full disk left of a line is cut off when the journal is next
opened. A run is known by its key, so no run is lost, and none is done twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from training.console.progress import ERRORS
from training.errors import RunError
from training.experiments.study.design import RunSpec
from training.storage.atomic import try_lock

JOURNAL_NAME: Final = "journal.jsonl"

Counts = tuple[tuple[int, ...], ...]


class RunRecord(BaseModel):
    """A finished run.

    Attributes:
        key: of `spec`, which says what was run.
        n_train, n_test: tiles, not views.
        loss, accuracy: of the training views, by epoch, while they were trained on.
        test_loss, test_accuracy: of the test tiles after each epoch; they decide nothing.
        confusion: after the last epoch: row true, column answered.
        best_epoch: the first with the highest test accuracy.
        best_confusion: after that epoch.
        test, logits: names of the tested tiles and what was answered after the last epoch.
        seconds: of the training; shared with other numbers of epochs where it was one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    spec: RunSpec
    n_train: int
    n_test: int
    loss: tuple[float, ...]
    accuracy: tuple[float, ...]
    test_loss: tuple[float, ...]
    test_accuracy: tuple[float, ...]
    confusion: Counts
    best_epoch: int
    best_confusion: Counts
    test: tuple[str, ...]
    logits: tuple[tuple[float, ...], ...]
    seconds: float

    @property
    def last_accuracy(self) -> float:
        """After the last epoch: what a run reports that chooses nothing on its test tiles."""
        return self.test_accuracy[-1]

    @property
    def best_accuracy(self) -> float:
        """After the best epoch: chosen on the test tiles, so it flatters."""
        return self.test_accuracy[self.best_epoch - 1]


class Journal:
    """The finished runs of one folder; only one process at a time may write there."""

    def __init__(self, folder: Path) -> None:
        """Open the journal, making it where it is missing.

        Raises:
            RunError: another process runs a study there, or the folder cannot be written.
        """
        self.path = folder / JOURNAL_NAME
        self._records: dict[str, RunRecord] = {}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._stream = self.path.open("a+b", buffering=0)
        except OSError as error:
            raise RunError(f"{folder} cannot be written ({error.strerror}).") from error
        if not try_lock(self._stream):
            self._stream.close()
            raise RunError(
                f"Another process runs the study of {folder}. Wait for it, or name another --out."
            )
        self._read()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, which gives the folder free."""
        self._stream.close()

    def get(self, key: str) -> RunRecord | None:
        """The record of a run, or None where it is not finished."""
        return self._records.get(key)

    def append(self, records: Sequence[RunRecord]) -> None:
        """Add finished runs.

        Raises:
            RunError: the disk is full; the journal is as it was before.
        """
        content = b"".join(record.model_dump_json().encode() + b"\n" for record in records)
        size = os.fstat(self._stream.fileno()).st_size
        try:
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self._stream.fileno(), rest) :]
            os.fsync(self._stream.fileno())
        except OSError as error:
            os.ftruncate(self._stream.fileno(), size)
            raise RunError(
                f"{self.path} cannot be written ({error.strerror}). Make room and give the same "
                "command again: it goes on where it was."
            ) from error
        self._records |= {record.key: record for record in records}

    def _read(self) -> None:
        content = self.path.read_bytes()
        self._records = _parse(self.path, content)
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            os.ftruncate(self._stream.fileno(), whole)


def read_journal(folder: Path) -> dict[str, RunRecord]:
    """All finished runs of a folder by key, also while a study adds to them."""
    path = folder / JOURNAL_NAME
    try:
        return _parse(path, path.read_bytes())
    except FileNotFoundError:
        return {}


def _parse(path: Path, content: bytes) -> dict[str, RunRecord]:
    records, n_damaged = {}, 0
    for line in content[: content.rfind(b"\n") + 1].splitlines():
        try:
            record = RunRecord.model_validate_json(line)
        except ValidationError:
            n_damaged += 1
            continue
        records[record.key] = record
    if n_damaged:
        ERRORS.print(
            f"{path}: {n_damaged} damaged line(s); those runs are done again.", soft_wrap=True
        )
    return records
