"""The slides of a service on disk: files, what is known of them, and the results of their jobs.

`OSTEO_STATE_DIR/slides` has three folders. `incoming` holds uploads and series that are being
fetched; `slides/ID` the file or folder `slide` and its `record.json`; `results/ID` what a job has
written. The name that a client gives to an uploaded file is never stored, because it may contain
the name of a patient. The path of a slide beneath a mount is stored in `record.json`.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from app.core.slide_errors import SlideChangedError
from app.core.slide_store_errors import (
    DiskFullError,
    JobNotFoundError,
    SlideNotFoundError,
    SlidePathError,
)
from app.settings import Settings
from app.slides.storage import mounts
from app.slides.storage.disk import bytes_below, make_folder, remove, write_file
from app.slides.storage.quota import Quota
from app.slides.storage.slide_record import SlideRecord, known_again, short_stamp
from app.slides.storage.uploads import Uploads

FOLDER_NAME: Final = "slides"
"""In `OSTEO_STATE_DIR`."""
_ID: Final = re.compile(r"[0-9a-f]{64}")
_SLIDE: Final = "slide"
_RECORD: Final = "record.json"
_THUMBNAIL: Final = "thumbnail.jpg"


class SlideStore:
    """The slides, uploads and results in a folder; any thread or process may use it."""

    def __init__(self, root: Path, settings: Settings) -> None:
        """Use a folder, which is created when the first file is stored.

        Args:
            root: `OSTEO_STATE_DIR/slides`.
            settings: limits, quota and mounts.
        """
        self._root = root
        self._slides = root / "slides"
        self._results = root / "results"
        self._incoming = root / "incoming"
        self._adding = threading.Lock()
        self._mounts: Mapping[str, Path] = settings.mounts
        self.quota = Quota(root, settings.slides_quota_bytes, self._measure)
        self.uploads = Uploads(self._incoming, settings.max_slide_bytes, self.quota)

    @property
    def root(self) -> Path:
        """The folder in which everything is."""
        return self._root

    @property
    def exists(self) -> bool:
        """Whether anything was ever stored; False if the folder above may not be opened."""
        try:
            return self._root.is_dir()
        except OSError:
            return False

    def path_of(self, slide_id: str) -> Path:
        """The file of a slide, or the folder of a DICOM series.

        Raises:
            SlideNotFoundError: there is no such slide, or it is gone from its mount.
            SlideChangedError: its files beneath a mount are others than when it was added.
        """
        record = self.record(slide_id)
        if record.mount is None or record.path is None:
            return self._slides / slide_id / _SLIDE
        try:
            path = mounts.resolve(self._mounts, record.mount, record.path)
            stamp = short_stamp(path)
        except (OSError, SlidePathError):
            raise SlideNotFoundError from None
        if stamp != record.stamp:
            raise SlideChangedError
        return path

    def result_dir(self, job_id: str) -> Path:
        """The folder for the outputs of a job; it is created if there is none.

        Raises:
            JobNotFoundError: the id is not one.
            DiskFullError: there is no room for the folder.
        """
        return make_folder(self._result_folder(job_id))

    def touch_results(self, job_id: str) -> None:
        """Note that the outputs of a job are used, which postpones their expiry."""
        try:
            os.utime(self._result_folder(job_id))
        except FileNotFoundError:
            return

    def results_of(self, job_id: str) -> Path:
        """The folder for the outputs of a job, whether it exists or not.

        Raises:
            JobNotFoundError: the id is not one.
        """
        return self._result_folder(job_id)

    def touch(self, slide_id: str) -> None:
        """Note that a slide is used, which postpones its expiry; it may be gone."""
        if _ID.fullmatch(slide_id):
            try:
                os.utime(self._slides / slide_id / _RECORD)
            except FileNotFoundError:
                return

    def record(self, slide_id: str) -> SlideRecord:
        """What is known of a slide.

        Raises:
            SlideNotFoundError: there is no such slide.
        """
        if not _ID.fullmatch(slide_id):
            raise SlideNotFoundError
        try:
            content = (self._slides / slide_id / _RECORD).read_bytes()
            return SlideRecord.model_validate_json(content)
        except (OSError, ValidationError):
            raise SlideNotFoundError from None

    def records(self) -> list[SlideRecord]:
        """All slides, the newest first."""
        found = []
        for slide_id in self._ids(self._slides):
            try:
                found.append(self.record(slide_id))
            except SlideNotFoundError:
                continue  # deleted meanwhile
        return sorted(found, key=lambda record: (record.created, record.id), reverse=True)

    def thumbnail_file(self, slide_id: str) -> Path:
        """Where the thumbnail of a slide is kept once it was made.

        Raises:
            SlideNotFoundError: there is no such slide.
        """
        if not _ID.fullmatch(slide_id):
            raise SlideNotFoundError
        return self._slides / slide_id / _THUMBNAIL

    def add(self, record: SlideRecord, path: Path | None) -> tuple[SlideRecord, bool]:
        """Keep a slide. If the store has it already, its file and its record stay as they are.

        Only a slide beneath a mount, of which the store has no file, gets its new place.

        Args:
            record: what is known of it.
            path: the file or folder in `incoming`, which is moved; None if it lies in a mount.

        Returns:
            The record that is kept, and whether the slide was added now.

        Raises:
            SlideExistsError: the store has it with another resolution; the file stays.
            DiskFullError: there is no room for the record; the file stays where it was.
        """
        with self._adding:
            return self._add(record, path)

    def _add(self, record: SlideRecord, path: Path | None) -> tuple[SlideRecord, bool]:
        try:
            former = self.record(record.id)
        except SlideNotFoundError:
            former = None
        folder = make_folder(self._slides / record.id)
        target = folder / _SLIDE
        if former is not None:
            has_file = former.mount is None and target.exists()
            record = known_again(former, record, may_move=not has_file)
        is_moved = path is not None and not target.exists()
        if path is not None and is_moved:
            path.rename(target)
        try:
            write_file(folder / _RECORD, record.model_dump_json().encode())
        except DiskFullError:
            if path is not None and is_moved:
                target.rename(path)
            raise
        if path is not None and not is_moved:
            remove(path)
        (folder / _THUMBNAIL).unlink(missing_ok=True)
        self.quota.forget()
        return record, former is None

    def new_folder(self) -> Path:
        """A new folder in `incoming` for a series that is being fetched.

        Raises:
            DiskFullError: there is no room for it.
        """
        return make_folder(self._incoming / f"series-{secrets.token_hex(16)}")

    def remove_folder(self, folder: Path) -> None:
        """Remove a folder that `new_folder` made."""
        remove(folder)
        self.quota.forget()

    def delete(self, slide_id: str) -> None:
        """Delete a slide; a file beneath a mount stays.

        Raises:
            SlideNotFoundError: there is no such slide.
        """
        self.record(slide_id)
        self.discard(slide_id)

    def discard(self, slide_id: str) -> None:
        """Remove whatever is kept of a slide, also of one that was half deleted."""
        folder = self._slides / slide_id
        remove(folder / _RECORD)  # first, so that nobody finds a slide without its file
        remove(folder)
        self.quota.forget()

    def delete_results(self, job_id: str) -> None:
        """Delete the outputs of a job, if there are any.

        Raises:
            JobNotFoundError: the id is not one.
        """
        remove(self._result_folder(job_id))
        self.quota.forget()

    def unused_slides(self, seconds: float) -> Iterator[str]:
        """Ids of the slides that were not used for so long."""
        before = datetime.now(UTC).timestamp() - seconds
        for slide_id in self._ids(self._slides):
            folder = self._slides / slide_id
            record = folder / _RECORD
            with_record = record if record.exists() else folder
            try:
                if with_record.stat().st_mtime < before:
                    yield slide_id
            except FileNotFoundError:
                continue

    def unused_results(self, seconds: float) -> Iterator[str]:
        """Ids of the jobs whose folders of outputs have not changed for so long."""
        before = datetime.now(UTC).timestamp() - seconds
        for job_id in self._ids(self._results):
            try:
                if (self._results / job_id).stat().st_mtime < before:
                    yield job_id
            except FileNotFoundError:
                continue

    def _result_folder(self, job_id: str) -> Path:
        if not _ID.fullmatch(job_id):
            raise JobNotFoundError
        return self._results / job_id

    def _ids(self, folder: Path) -> list[str]:
        try:
            return sorted(path.name for path in folder.iterdir() if _ID.fullmatch(path.name))
        except FileNotFoundError:
            return []

    def _measure(self) -> tuple[int, int]:
        make_folder(self._root)
        promised, awaited = self.uploads.measure()
        return bytes_below(self._slides) + bytes_below(self._results) + promised, awaited


def open_store(settings: Settings) -> SlideStore:
    """The store in the folder of the settings; nothing is created yet."""
    return SlideStore(settings.state_dir.absolute() / FOLDER_NAME, settings)
