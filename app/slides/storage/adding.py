"""Make a slide of an upload, a file beneath a mount, or a DICOM series: inspect, hash, keep."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, TypeVar

from app.core.manifest import InputContract
from app.core.slide_errors import SlideTooLargeError
from app.core.slide_store_errors import SlidePathError
from app.settings import Settings
from app.slides.identity import sha256_of_slide
from app.slides.storage import mounts
from app.slides.storage.disk import bytes_below, naming_full_disk
from app.slides.storage.slide_record import SlideRecord, short_stamp
from app.slides.storage.store import SlideStore
from app.slides.viewing.readers import Readers, SlideFile
from app.telemetry.tracing import carried

_MAX_AT_ONCE: Final = 2
"""Slides that are hashed or fetched at once: each keeps a core or the network busy."""

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class SeriesName:
    """A DICOM series on the DICOMweb server of the settings."""

    study: str
    series: str


class SlideIntake:
    """Adds slides to a store, if they can be read and classified."""

    def __init__(self, store: SlideStore, readers: Readers, settings: Settings) -> None:
        """Use a store and the processes that open slides."""
        self._store = store
        self._readers = readers
        self._max_bytes = settings.max_slide_bytes
        self._mounts = settings.mounts
        self._dicomweb_url = settings.dicomweb_url
        # Threads of their own: minutes of a large slide must not hold up other requests.
        self._threads = ThreadPoolExecutor(_MAX_AT_ONCE, "slide intake")

    async def add_upload(
        self, upload_id: str, mpp: float | None, contract: InputContract
    ) -> tuple[SlideRecord, bool]:
        """Make a slide of an upload. If the slide is refused, the upload stays.

        Args:
            upload_id: of a complete upload.
            mpp: micrometres per pixel of level 0, if the caller states it.
            contract: the scale of the model's tiles.

        Returns:
            What is kept of the slide, and whether the store did not have it yet.

        Raises:
            UploadNotFoundError: there is no such upload.
            UploadIncompleteError: bytes are missing.
            UploadBusyError: another request uses it.
            SlideError: the slide is refused.
            ExtraMissingError: the packages that read slides are not installed.
            SlideReaderError: the process that opened it died.
            SlideExistsError: the store has the slide with another resolution.
            DiskFullError: there is no room for the record.
        """
        with self._store.uploads.completed(upload_id) as path:
            record = await self._inspect(
                SlideFile(path, mpp, allow_companions=False), contract, source="upload"
            )
            return await self._keep(record, path)

    async def add_mounted(
        self, mount: str, relative: str, mpp: float | None, contract: InputContract
    ) -> tuple[SlideRecord, bool]:
        """Make a slide of a file or folder beneath a mount, where it stays.

        Raises:
            SlidePathError: there is no such mount or path.
            Further errors as `add_upload`.
        """
        path = await asyncio.to_thread(mounts.resolve, self._mounts, mount, relative)
        n_bytes = await asyncio.to_thread(_size, path)
        if n_bytes > self._max_bytes:
            raise SlideTooLargeError(n_bytes, self._max_bytes, "bytes")
        stamp = await asyncio.to_thread(short_stamp, path)
        record = await self._inspect(
            SlideFile(path, mpp, allow_companions=True), contract, source="mount"
        )
        place = {"mount": mount, "path": relative, "stamp": stamp}
        return await self._keep(record.model_copy(update=place), None)

    async def add_series(
        self, name: SeriesName, mpp: float | None, contract: InputContract
    ) -> tuple[SlideRecord, bool]:
        """Fetch a series from the DICOMweb server and make a slide of it.

        Raises:
            SlidePathError: no DICOMweb server is set.
            SlideArchiveError: the server does not have the series, or does not answer.
            SlideTooLargeError: the series is larger than slides may be, or than there is room for.
            Further errors as `add_upload`.
        """
        if self._dicomweb_url is None:
            raise SlidePathError("No DICOMweb server is set (OSTEO_DICOMWEB_URL).")
        folder = await asyncio.to_thread(self._store.new_folder)
        try:
            await self._in_thread(self._fetch, self._dicomweb_url, name, folder)
            record = await self._inspect(
                SlideFile(folder, mpp, allow_companions=True), contract, source="dicomweb"
            )
            return await self._keep(record, folder)
        finally:
            await asyncio.to_thread(self._store.remove_folder, folder)

    def close(self) -> None:
        """Begin nothing more."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _fetch(self, url: str, name: SeriesName, folder: Path) -> None:
        from app.slides.dicom.dicomweb import fetch_series  # loads pydicom

        max_bytes = min(self._max_bytes, self._store.quota.left_bytes())
        with naming_full_disk():
            fetch_series(url, name.study, name.series, folder, max_bytes)

    async def _inspect(self, file: SlideFile, contract: InputContract, source: str) -> SlideRecord:
        found = await self._readers.inspect(file, contract)
        sha256 = await self._in_thread(sha256_of_slide, file.path)
        known = {"id": sha256, "source": source, "mpp": file.mpp, "created": datetime.now(UTC)}
        return SlideRecord.model_validate(dict(found) | known)

    async def _in_thread(self, work: Callable[..., Value], *arguments: object) -> Value:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, carried(work), *arguments)

    async def _keep(self, record: SlideRecord, path: Path | None) -> tuple[SlideRecord, bool]:
        return await asyncio.to_thread(self._store.add, record, path)


def _size(path: Path) -> int:
    return bytes_below(path) if path.is_dir() else path.stat().st_size
