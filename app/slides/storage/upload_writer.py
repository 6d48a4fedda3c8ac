"""One upload as it is on disk, and what appends data to it."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from app.core.slide_store_errors import UploadChecksumError, UploadTooLongError
from app.slides.storage.disk import naming_full_disk

CHECKSUM_ALGORITHMS: Final = ("sha1", "sha256", "md5")


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
