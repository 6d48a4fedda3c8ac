from __future__ import annotations

import os
import re
import stat
import string
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access import key_file
from app.access.caller import Scope
from app.access.key_changes import create_key
from app.access.key_file import (
    KeyEntry,
    KeyFile,
    KeySecret,
    keys_path,
    opened_for_change,
    read_key_file,
)
from app.core.errors import SettingsError
from app.settings import Settings

NAMES = st.from_regex(key_file.NAME_PATTERN.removesuffix("$"), fullmatch=True)
TIMES = st.datetimes(
    datetime(1, 1, 2),  # noqa: DTZ001 - the strategy adds the zone, and wants bounds without one
    datetime(9999, 12, 30),  # noqa: DTZ001 - as above
    timezones=st.just(UTC),
)
SECRETS = st.builds(
    KeySecret,
    id=st.text(string.ascii_lowercase + string.digits, min_size=8, max_size=8),
    sha256=st.binary(min_size=32, max_size=32).map(bytes.hex),
    created_at=TIMES,
    expires_at=st.none() | TIMES,
)
ENTRIES = st.builds(
    KeyEntry,
    name=NAMES,
    scopes=st.sets(st.sampled_from(list(Scope)), min_size=1).map(
        lambda found: tuple(sorted(found))
    ),
    created_at=TIMES,
    subject=st.none() | st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    secrets=st.lists(SECRETS, min_size=1, max_size=2).map(tuple),
    revoked_at=st.none() | TIMES,
)
FILES = st.lists(ENTRIES, max_size=2).filter(
    lambda entries: (
        len({entry.name for entry in entries}) == len(entries)
        and len({entry.subject for entry in entries if entry.subject})
        == sum(entry.subject is not None for entry in entries)
        and len({one.id for entry in entries for one in entry.secrets})
        == sum(len(entry.secrets) for entry in entries)
    )
)


@given(FILES)
def test_written_keys_are_read_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, entries: list[KeyEntry]
) -> None:
    path = tmp_path_factory.getbasetemp() / "round-trip.json"
    path.unlink(missing_ok=True)
    with opened_for_change(path) as file:
        file.replace(entries)
    assert read_key_file(path)[0] == KeyFile(keys=tuple(entries))


@given(st.data())
def test_read_key_file_survives_any_damage(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / "damage.json"
    text = bytearray(KeyFile(keys=tuple(data.draw(FILES))).model_dump_json().encode())
    position = data.draw(st.integers(0, len(text) - 1))
    text[position : position + data.draw(st.integers(0, 9))] = data.draw(st.binary(max_size=9))
    path.write_bytes(text)
    with suppress(SettingsError):
        content, _ = read_key_file(path)
        assert len(content.keys) <= 2


def entry(name: str, key_id: str = "abcdefgh") -> KeyEntry:
    now = datetime.now(UTC)
    secret = KeySecret(id=key_id, sha256="0" * 64, created_at=now)
    return KeyEntry(name=name, scopes=(Scope.CLASSIFY,), created_at=now, secrets=(secret,))


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([entry("a"), entry("a", "bbbbbbbb")], "the name 'a' occurs twice"),
        ([entry("a"), entry("b")], "the id 'abcdefgh' occurs twice"),
    ],
)
def test_read_key_file_refuses_doubles(tmp_path: Path, entries: list[KeyEntry], what: str) -> None:
    document = KeyFile.model_construct(schema_version=1, keys=tuple(entries))
    (tmp_path / "keys.json").write_text(document.model_dump_json())
    with pytest.raises(SettingsError, match=what):
        read_key_file(tmp_path / "keys.json")


def test_read_key_file_refuses_a_time_that_utc_cannot_express(tmp_path: Path) -> None:
    text = KeyFile(keys=(entry("a"),)).model_dump_json()
    year = f"{datetime.now(UTC):%Y-}"
    (tmp_path / "keys.json").write_text(
        re.sub(f'"{year}[^"]*"', '"9999-12-31T23:59:59-01:00"', text)
    )
    with pytest.raises(SettingsError, match="out of range"):
        read_key_file(tmp_path / "keys.json")


def test_read_key_file_refuses_a_large_file(tmp_path: Path) -> None:
    with (tmp_path / "keys.json").open("wb") as stream:
        stream.truncate(key_file.MAX_FILE_BYTES + 1)
    with pytest.raises(SettingsError, match="larger than"):
        read_key_file(tmp_path / "keys.json")


def test_written_file_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "keys.json"
    old_mask = os.umask(0)
    try:
        create_key(path, "a", [Scope.CLASSIFY], None)
    finally:
        os.umask(old_mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert sorted(found.name for found in path.parent.iterdir()) == ["keys.json", "keys.json.lock"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_file_that_root_writes_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    create_key(path, "a", [Scope.CLASSIFY], None)
    os.chown(path, 1234, 1235)
    create_key(path, "b", [Scope.CLASSIFY], None)
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 1235)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_files_that_root_creates_belong_to_the_owner_of_the_folder(tmp_path: Path) -> None:
    os.chown(tmp_path, 1234, 1235)
    create_key(tmp_path / "keys.json", "a", [Scope.CLASSIFY], None)
    assert {found.stat().st_uid for found in tmp_path.iterdir()} == {1234}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_link_in_place_of_the_lock_keeps_its_owner(tmp_path: Path) -> None:
    (tmp_path / "of_root").touch()
    (tmp_path / "state").mkdir()
    os.chown(tmp_path / "state", 1234, 1235)
    (tmp_path / "state" / "keys.json.lock").symlink_to(tmp_path / "of_root")
    create_key(tmp_path / "state" / "keys.json", "a", [Scope.CLASSIFY], None)
    assert (tmp_path / "of_root").stat().st_uid == 0


def test_link_to_the_file_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "keys.json").symlink_to("real/keys.json")
    create_key(tmp_path / "keys.json", "a", [Scope.CLASSIFY], None)
    assert (tmp_path / "keys.json").is_symlink()
    assert len(read_key_file(tmp_path / "real" / "keys.json")[0].keys) == 1


def test_part_of_a_killed_process_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "keys.json.part").write_text("half")
    create_key(tmp_path / "keys.json", "a", [Scope.CLASSIFY], None)
    assert not (tmp_path / "keys.json.part").exists()


def test_keys_path_is_in_the_state_folder_unless_given(tmp_path: Path) -> None:
    assert keys_path(Settings(state_dir=tmp_path)) == tmp_path / "keys.json"
    assert keys_path(Settings(state_dir=tmp_path, keys_file=Path("/k"))) == Path("/k")
