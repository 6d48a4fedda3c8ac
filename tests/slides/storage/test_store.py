"""Slides, uploads and results on disk: quota, expiry, a full disk, kills."""

from __future__ import annotations

import errno
import os
import stat
import threading
from datetime import UTC, datetime
from pathlib import Path
from unittest.mock import Mock

import pytest

from app.core.slide_errors import SlideChangedError, SlideTooLargeError
from app.core.slide_store_errors import (
    DiskFullError,
    JobNotFoundError,
    SlideExistsError,
    SlideNotFoundError,
    SlidesFullError,
    UploadBusyError,
    UploadNotFoundError,
)
from app.settings import Settings
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.storage.slide_record import SlideRecord, short_stamp
from app.slides.storage.store import SlideStore

SHA = "ab" * 32
FACTS = SlideFacts(
    format="generic-tiff",
    n_bytes=3,
    width_px=2000,
    height_px=1000,
    mpp=1.0,
    mpp_source="file",
    levels=[LevelFacts(width_px=2000, height_px=1000, downsample=1.0)],
    reads="jpeg",
)


def make_store(folder: Path, **given: object) -> SlideStore:
    return SlideStore(folder / "slides", Settings.model_validate({"state_dir": folder, **given}))


def make_record(**given: object) -> SlideRecord:
    known = {"id": SHA, "source": "upload", "facts": FACTS, "columns": 2, "rows": 1}
    return SlideRecord.model_validate({**known, "created": datetime.now(UTC), **given})


def upload(store: SlideStore, content: bytes) -> str:
    upload_id = store.uploads.create(len(content)).id
    with store.uploads.writing(upload_id, 0) as writer:
        writer.append(content)
        writer.finish()
    return upload_id


def add(store: SlideStore, content: bytes = b"abc") -> None:
    with store.uploads.completed(upload(store, content)) as path:
        store.add(make_record(), path)


def age(path: Path, hours: float) -> None:
    at = datetime.now(UTC).timestamp() - hours * 3600
    os.utime(path, (at, at))


def test_slide_is_found_in_the_service_and_in_a_worker(tmp_path: Path) -> None:
    add(make_store(tmp_path))
    worker = make_store(tmp_path)
    assert worker.path_of(SHA).read_bytes() == b"abc"
    assert worker.result_dir("cd" * 32).is_dir()


def test_folders_and_files_are_for_one_user(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    store.result_dir("cd" * 32)
    for path in (tmp_path / "slides").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("slide_id", ["", "..", "../" + SHA, SHA.upper(), SHA + "\n", "cd" * 32])
def test_id_that_is_none_is_not_found(tmp_path: Path, slide_id: str) -> None:
    store = make_store(tmp_path)
    add(store)
    with pytest.raises(SlideNotFoundError):
        store.path_of(slide_id)
    store.touch(slide_id)
    if slide_id != "cd" * 32:
        with pytest.raises(JobNotFoundError):
            store.result_dir(slide_id)


def test_quota_counts_slides_results_and_what_uploads_promise(tmp_path: Path) -> None:
    store = make_store(tmp_path, slides_quota_bytes=10_000)
    store.uploads.create(4000)
    (store.result_dir("cd" * 32) / "summary.json").write_bytes(bytes(4000))
    store.quota.forget()
    with pytest.raises(SlidesFullError):
        store.uploads.create(2001)
    store.uploads.create(1900)


def test_quota_holds_when_many_ask_at_once(tmp_path: Path) -> None:
    store = make_store(tmp_path, slides_quota_bytes=10_000)
    refused: list[SlidesFullError] = []

    def create() -> None:
        try:
            store.uploads.create(900)
        except SlidesFullError as error:
            refused.append(error)

    threads = [threading.Thread(target=create) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 40 - 11
    assert store.uploads.measure() == (9900, 9900)


def test_upload_larger_than_the_disk_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    free = type("Usage", (), {"free": 20 * 1024**2})
    monkeypatch.setattr("app.slides.storage.quota.shutil.disk_usage", lambda _path: free)
    with pytest.raises(DiskFullError):
        store.uploads.create(5 * 1024**2)
    store.uploads.create(3 * 1024**2)
    with pytest.raises(DiskFullError):
        store.uploads.create(3 * 1024**2)


def test_upload_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SlideTooLargeError):
        make_store(tmp_path, max_slide_bytes=10).uploads.create(11)


def test_full_disk_leaves_nothing_of_an_upload(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    upload_id = store.uploads.create(10).id
    written = os.pwrite

    def write_half(handle: int, data: bytes, offset: int) -> int:
        if offset:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(handle, data[: len(data) // 2], offset)

    monkeypatch.setattr("app.slides.storage.upload_writer.os.pwrite", write_half)
    with pytest.raises(DiskFullError), store.uploads.writing(upload_id, 0) as writer:
        writer.append(b"0123456789")
    with pytest.raises(UploadNotFoundError):
        store.uploads.get(upload_id)
    assert store.uploads.measure() == (0, 0)


def test_full_disk_leaves_an_upload_that_cannot_become_a_slide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make_store(tmp_path)
    upload_id = upload(store, b"abc")

    def fail(_path: Path, _content: bytes) -> None:
        raise DiskFullError

    monkeypatch.setattr("app.slides.storage.store.write_file", fail)
    with store.uploads.completed(upload_id) as path, pytest.raises(DiskFullError):
        store.add(make_record(), path)
    assert store.uploads.get(upload_id).is_complete
    assert store.records() == []


def test_locked_upload_is_free_once_its_user_is_gone(tmp_path: Path) -> None:
    store, other = make_store(tmp_path), make_store(tmp_path)
    upload_id = store.uploads.create(3).id
    with store.uploads.writing(upload_id, 0) as writer:
        writer.append(b"a")
        with pytest.raises(UploadBusyError):
            other.uploads.delete(upload_id)
        assert other.uploads.get(upload_id).offset == 1
    with other.uploads.writing(upload_id, 1) as writer:
        writer.append(b"bc")
    assert other.uploads.get(upload_id).is_complete


def test_unfinished_upload_expires_and_one_in_use_does_not(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    old, new, used = (store.uploads.create(3).id for _ in range(3))
    series = store.new_folder()
    (series / "1.dcm").write_bytes(b"x")
    incoming = tmp_path / "slides" / "incoming"
    with store.uploads.writing(used, 0):
        for path in (incoming / old, incoming / used, series):
            age(path, 25)
        assert store.uploads.delete_unused(24 * 3600) == 2
    assert {path.name for path in incoming.iterdir()} == {new, used}


def test_slide_expires_after_its_last_use(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    record = tmp_path / "slides" / "slides" / SHA / "record.json"
    age(record, 200)
    assert list(store.unused_slides(168 * 3600)) == [SHA]
    store.touch(SHA)
    assert list(store.unused_slides(168 * 3600)) == []


def test_slide_that_a_kill_left_half_deleted_expires(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    folder = tmp_path / "slides" / "slides" / SHA
    (folder / "record.json").unlink()
    age(folder, 200)
    assert store.records() == []
    assert list(store.unused_slides(168 * 3600)) == [SHA]
    store.discard(SHA)
    assert not folder.exists()


def test_damaged_record_is_no_slide(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    (tmp_path / "slides" / "slides" / SHA / "record.json").write_bytes(b"{")
    with pytest.raises(SlideNotFoundError):
        store.record(SHA)
    add(store)
    assert store.record(SHA).id == SHA


def test_slide_in_a_mount_is_refused_once_it_is_another(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    file = mount / "slide.tif"
    file.write_bytes(b"abc")
    store = make_store(tmp_path, slide_mounts=f"archive={mount}")
    place = {"mount": "archive", "path": "slide.tif", "stamp": short_stamp(file)}
    store.add(make_record(source="mount", **place), None)
    assert store.path_of(SHA) == file
    file.write_bytes(b"abcd")
    with pytest.raises(SlideChangedError):
        store.path_of(SHA)
    file.unlink()
    with pytest.raises(SlideNotFoundError):
        store.path_of(SHA)


@pytest.mark.parametrize(
    "text", ["archive", "archive=relative", "=/mnt", "A b=/mnt", "a=/x,a=/y", "a=/x,,b"]
)
def test_mounts_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="mount"):
        Settings.model_validate({"slide_mounts": text})


def test_mounts_are_read_by_name() -> None:
    settings = Settings.model_validate({"slide_mounts": "archive=/mnt/a, research=/mnt/b,"})
    assert settings.mounts == {"archive": Path("/mnt/a"), "research": Path("/mnt/b")}


def test_folder_that_may_not_be_opened_does_not_end_the_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "is_dir", Mock(side_effect=PermissionError))
    assert not make_store(tmp_path).exists


def test_slide_beneath_a_mount_that_is_added_again_gets_its_new_place(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    first = make_record(source="mount", mount="a", path="old.tif", stamp="1", mpp=1.0)
    store.add(first, None)
    found = make_record(source="mount", mount="a", path="new.tif", stamp="2", columns=9)
    record, is_new = store.add(found, None)
    assert not is_new
    assert record == first.model_copy(update={"path": "new.tif", "stamp": "2"})
    assert store.record(SHA) == record


def test_stored_file_is_not_replaced_by_a_place_in_a_mount(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    store.add(make_record(source="mount", mount="a", path="other.tif", stamp="1"), None)
    assert store.path_of(SHA).read_bytes() == b"abc"


def test_upload_with_another_resolution_stays_an_upload(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    add(store)
    again = upload(store, b"abc")
    with pytest.raises(SlideExistsError), store.uploads.completed(again) as path:
        store.add(make_record(mpp=0.5), path)
    assert store.uploads.get(again).is_complete
    assert store.record(SHA).mpp is None
