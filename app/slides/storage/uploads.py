"""Uploads of slides: one file each, whose size is the offset at which the upload goes on.

Everything that must survive a kill is in the file system: the length is part of the id, and the id
is the name of the file. The name that a client gives to its file is never stored.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from app.core.slide_errors import SlideTooLargeError
from app.core.slide_store_errors import (
    DiskFullError,
    TooManyUploadsError,
    UploadBusyError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadOffsetError,
)
from app.slides.storage.disk import FILE_MODE, bytes_below, make_folder, naming_full_disk, remove
from app.slides.storage.quota import Quota
from app.slides.storage.upload_writer import Upload, UploadWriter

MAX_UPLOADS: Final = 1000
"""Uploads that have not become slides: a client that begins them in a loop must not fill a folder
with files."""
_ID: Final = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,14})")


class Uploads:
    """The uploads in a folder; any thread or process may use it."""

    def __init__(self, folder: Path, max_bytes: int, quota: Quota) -> None:
        """Use a folder, which is created with the first upload.

        Args:
            folder: of the uploads.
            max_bytes: length of the longest upload that is accepted.
            quota: is asked for room.
        """
        self._folder = folder
        self._max_bytes = max_bytes
        self._quota = quota

    def create(self, length: int) -> Upload:
        """Begin an upload.

        Args:
            length: in bytes, at least 1.

        Raises:
            SlideTooLargeError: it is longer than slides may be.
            SlidesFullError: the quota does not have the room.
            DiskFullError: the disk does not have it.
            TooManyUploadsError: too many uploads have begun.
        """
        if length > self._max_bytes:
            raise SlideTooLargeError(length, self._max_bytes, "bytes")
        make_folder(self._folder)
        if sum(1 for _ in self._ids()) >= MAX_UPLOADS:
            raise TooManyUploadsError(MAX_UPLOADS)
        self._quota.reserve(length)
        upload_id = f"{secrets.token_hex(16)}-{length}"
        with naming_full_disk():
            handle = os.open(
                self._folder / upload_id, os.O_WRONLY | os.O_CREAT | os.O_EXCL, FILE_MODE
            )
            os.close(handle)
        return self.get(upload_id)

    def get(self, upload_id: str) -> Upload:
        """How far an upload is.

        Raises:
            UploadNotFoundError: there is none with this id.
        """
        found = _ID.fullmatch(upload_id)
        if not found:
            raise UploadNotFoundError
        try:
            stat = (self._folder / upload_id).stat()
        except FileNotFoundError:
            raise UploadNotFoundError from None
        changed = datetime.fromtimestamp(stat.st_mtime, UTC)
        return Upload(upload_id, stat.st_size, int(found[1]), changed)

    @contextmanager
    def writing(self, upload_id: str, offset: int) -> Iterator[UploadWriter]:
        """Continue an upload; no other request can until the end of the `with` block.

        If the disk becomes full, the upload is deleted: half of a slide is of no use, and would
        keep the disk full.

        Args:
            upload_id: names it.
            offset: at which the data begins.

        Raises:
            UploadNotFoundError: there is none with this id.
            UploadBusyError: another request continues it now.
            UploadOffsetError: it has another number of bytes.
            DiskFullError: the disk is full.
        """
        with self._locked(upload_id) as handle:
            upload = self.get(upload_id)
            if offset != upload.offset:
                raise UploadOffsetError(offset, upload.offset)
            try:
                yield UploadWriter(handle, upload)
            except DiskFullError:
                self._remove(upload_id)
                raise

    @contextmanager
    def completed(self, upload_id: str) -> Iterator[Path]:
        """The file of a complete upload, which no other request can use in the `with` block.

        Raises:
            UploadNotFoundError: there is none with this id.
            UploadBusyError: another request uses it now.
            UploadIncompleteError: bytes are missing.
        """
        with self._locked(upload_id):
            upload = self.get(upload_id)
            if not upload.is_complete:
                raise UploadIncompleteError(upload.offset, upload.length)
            yield self._folder / upload_id

    def delete(self, upload_id: str) -> None:
        """Delete an upload.

        Raises:
            UploadNotFoundError: there is none with this id.
            UploadBusyError: another request uses it now.
        """
        with self._locked(upload_id):
            self._remove(upload_id)

    def delete_unused(self, seconds: float) -> int:
        """Delete what has not changed for so long, series that are being fetched included.

        Returns:
            The number of uploads and series that were deleted.
        """
        before = datetime.now(UTC).timestamp() - seconds
        n_deleted = 0
        for name in self._names():
            path = self._folder / name
            try:
                if path.stat().st_mtime >= before:
                    continue
                if _ID.fullmatch(name):
                    self.delete(name)
                else:
                    remove(path)
            except (FileNotFoundError, UploadNotFoundError, UploadBusyError):
                continue
            n_deleted += 1
        return n_deleted

    def measure(self) -> tuple[int, int]:
        """Bytes that uploads and series use or will use, and those that have not arrived yet."""
        total = awaited = 0
        for name in self._names():
            try:
                upload = self.get(name)
            except UploadNotFoundError:
                total += bytes_below(self._folder / name)
                continue
            total += upload.length
            awaited += upload.length - upload.offset
        return total, awaited

    @contextmanager
    def _locked(self, upload_id: str) -> Iterator[int]:
        """Lock the file of an upload. The system ends the lock if the process dies."""
        self.get(upload_id)
        try:
            handle = os.open(self._folder / upload_id, os.O_RDWR)
        except FileNotFoundError:
            raise UploadNotFoundError from None
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UploadBusyError from None
            yield handle
        finally:
            os.close(handle)

    def _remove(self, upload_id: str) -> None:
        remove(self._folder / upload_id)
        self._quota.forget()

    def _names(self) -> list[str]:
        try:
            return [path.name for path in self._folder.iterdir()]
        except FileNotFoundError:
            return []

    def _ids(self) -> Iterator[str]:
        return (name for name in self._names() if _ID.fullmatch(name))
