"""Uploads of slides: one file each, whose size is the offset at which the upload goes on.

Everything that must survive a kill is in the file system: the length is part of the id, and the id
is the name of the file. The name that a client gives to its file is never stored.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from app.core.slide_errors import SlideTooLargeError
from app.core.slide_store_errors import (
    DiskFullError,
    TooManyUploadsError,
    UploadBusyError,
    UploadChecksumError,
    UploadIncompleteError,
    UploadNotFoundError,
    UploadOffsetError,
    UploadTooLongError,
)
from app.slides.disk import FILE_MODE, bytes_below, make_folder, naming_full_disk, remove
from app.slides.quota import Quota

MAX_UPLOADS: Final = 1000
"""Uploads that have not become slides: a client that begins them in a loop must not fill a folder
with files."""
CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256", "md5")
_ID: Final = re.compile(r"[0-9a-f]{32}-([1-9][0-9]{0,14})")


@dataclass(frozen=True, slots=True)
class Upload:
    """An upload as it is on disk.

    Attributes:
        id: names it; nobody can guess it.
        offset: bytes that have arrived.
        length: bytes that are to arrive, at least 1.
        changed: when the last of them arrived.
    """

    id: str
    offset: int
    length: int
    changed: datetime

    @property
    def is_complete(self) -> bool:
        """Whether all bytes have arrived."""
        return self.offset == self.length

    def expires(self, seconds: float) -> datetime:
        """When it is deleted, if no more bytes arrive."""
        return self.changed + timedelta(seconds=seconds)


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


class UploadWriter:
    """Appends data to one upload; one thread at a time calls it."""

    def __init__(self, handle: int, upload: Upload) -> None:
        """Append behind the upload's offset."""
        self._handle = handle
        self._upload = upload
        self.offset = upload.offset

    @property
    def length(self) -> int:
        """Bytes that the upload will have."""
        return self._upload.length

    @property
    def n_missing(self) -> int:
        """Bytes that are still to arrive."""
        return self._upload.length - self.offset

    def require_room(self, n_bytes: int) -> None:
        """Refuse data before it is received.

        Raises:
            UploadTooLongError: it is more than what is missing.
        """
        if n_bytes > self.n_missing:
            raise UploadTooLongError(self.length)

    def append(self, data: bytes | bytearray) -> None:
        """Write data behind what is there.

        Raises:
            UploadTooLongError: it is more than the upload's length announces; nothing was written.
            DiskFullError: the disk is full.
        """
        self.require_room(len(data))
        view = memoryview(data)
        with naming_full_disk():
            while view:
                n_written = os.pwrite(self._handle, view, self.offset)
                self.offset += n_written
                view = view[n_written:]

    def drop_all(self) -> None:
        """Forget the data that this writer has appended."""
        os.ftruncate(self._handle, self._upload.offset)
        self.offset = self._upload.offset

    def verify(self, algorithm: str, expected: bytes) -> None:
        """Compare the digest of the data that this writer has appended; drop it if they differ.

        Args:
            algorithm: one of `CHECKSUM_ALGORITHMS`.
            expected: the digest.

        Raises:
            UploadChecksumError: they differ.
        """
        # md5 and sha1 find damage, which is all that the protocol asks of them.
        digest = hashlib.new(algorithm, usedforsecurity=False)
        at = self._upload.offset
        while at < self.offset:
            piece = os.pread(self._handle, min(1024**2, self.offset - at), at)
            digest.update(piece)
            at += len(piece)
        if digest.digest() != expected:
            self.drop_all()
            raise UploadChecksumError(algorithm)

    def finish(self) -> None:
        """Make sure that the data survives a power cut, once the upload is complete.

        Raises:
            DiskFullError: the disk is full.
        """
        if self.n_missing == 0:
            with naming_full_disk():
                os.fsync(self._handle)
