"""The keys of a running service follow their file."""

from __future__ import annotations

import json
import logging
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from app.access.api_keys import ApiKeys
from app.core.errors import SettingsError
from tests.access.lookups import ADMIN, Clock, created, opened, reason_of


def test_new_file_is_read_without_a_restart(path: Path, clock: Clock) -> None:
    keys = opened(path, clock)
    key = created(path, "scanner")
    assert reason_of(keys, key) == "unknown"  # it was looked at less than LOOK_EVERY_S ago
    clock.pass_look()
    assert keys.find(key).name == "scanner"


def test_removed_file_leaves_no_keys(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock, ADMIN)
    path.unlink()
    clock.pass_look()
    assert reason_of(keys, key) == "unknown"
    assert keys.find("a long admin token").name == "admin"


def test_file_is_looked_at_once_in_the_interval(
    path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    looks: list[object] = []

    def stamp(looking: ApiKeys) -> object:
        looks.append(looking._seen)
        return looking._seen

    monkeypatch.setattr(ApiKeys, "_stamp", stamp)
    for _ in range(5):
        keys.find(key)
    assert looks == []
    clock.pass_look()
    for _ in range(5):
        keys.find(key)
    assert len(looks) == 1


def test_swapped_mount_of_kubernetes_is_read(tmp_path: Path, clock: Clock) -> None:
    """The kubelet writes a new folder and renames a link to it over the old link."""
    mount = tmp_path / "mount"

    def publish(version: str) -> str:
        key = created(mount / version / "keys.json", f"scanner-{version[2:]}")
        (mount / "..data_tmp").symlink_to(version)
        (mount / "..data_tmp").rename(mount / "..data")
        return key

    first = publish("..1")
    (mount / "keys.json").symlink_to("..data/keys.json")
    keys = opened(mount / "keys.json", clock)
    assert keys.find(first).name == "scanner-1"
    second = publish("..2")
    shutil.rmtree(mount / "..1")
    clock.pass_look()
    assert keys.find(second).name == "scanner-2"
    assert reason_of(keys, first) == "unknown"


BROKEN: dict[str, Any] = {
    "half": b'{"schema_version": 1, "ke',
    "empty": b"",
    "not_utf8": b"\xff\xfe",
    "list": b"[]",
    "version": b'{"schema_version": 2, "keys": []}',
    "field": b'{"schema_version": 1, "keys": [], "open": true}',
    "deep": b"[" * 10_000,
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_broken_file_is_refused_at_start(path: Path, clock: Clock, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"keys\.json is not valid: .*Restore it from a copy"):
        opened(path, clock)


def test_folder_in_place_of_the_file_is_refused_at_start(path: Path, clock: Clock) -> None:
    path.mkdir()
    with pytest.raises(SettingsError, match="cannot be read: Is a directory"):
        opened(path, clock)


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_file_that_breaks_later_keeps_the_last_good_keys(
    path: Path, clock: Clock, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    key = created(path, "scanner")
    good = path.read_bytes()
    keys = opened(path, clock)
    path.write_bytes(content)
    for _ in range(3):
        clock.pass_look()
        assert keys.find(key).name == "scanner"
    assert [record.message for record in caplog.records] == ["api_keys_invalid"]
    path.write_bytes(content + b" ")
    clock.pass_look()
    assert not keys.is_empty
    assert [record.message for record in caplog.records] == ["api_keys_invalid"] * 2
    path.write_bytes(good)
    caplog.set_level(logging.INFO)
    clock.pass_look()
    assert keys.find(key).name == "scanner"
    assert caplog.records[-1].message == "api_keys_read"


def test_log_of_a_broken_file_holds_no_secret(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    document = json.loads(path.read_bytes())
    document["keys"][0]["secrets"][0]["sha256"] = key  # a mistake that somebody may make
    path.write_text(json.dumps(document))
    clock.pass_look()
    assert keys.find(key).name == "scanner"
    (record,) = caplog.records
    assert "keys.0.secrets.0.sha256" in vars(record)["reason"]
    assert key not in repr(vars(record))
    assert record.exc_info is None


def test_log_of_a_key_in_place_of_a_field_holds_no_secret(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    path.write_text(json.dumps({"schema_version": 1, "keys": [], key: {}}))
    clock.pass_look()
    assert keys.find(key).name == "scanner"
    (record,) = caplog.records
    assert key[:15] in vars(record)["reason"]
    assert key.split("_", 2)[2] not in repr(vars(record))


def test_loop_of_links_keeps_the_last_good_keys(
    path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    path.unlink()
    path.symlink_to(path)
    for _ in range(3):
        clock.pass_look()
        assert keys.find(key).name == "scanner"
    assert [record.message for record in caplog.records] == ["api_keys_invalid"]


def test_file_changed_in_place_with_the_same_size_is_read(path: Path, clock: Clock) -> None:
    key = created(path, "scanner")
    keys = opened(path, clock)
    text = path.read_text().replace("scanner", "scammer")
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the file system's clock may be coarse
        path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    clock.pass_look()
    assert keys.find(key).name == "scammer"
