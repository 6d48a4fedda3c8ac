"""A full disk is reported with the file's name, and leaves nothing half-written."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from training.config import read_config
from training.errors import RunError
from training.runs.identity import identify
from training.runs.resume import RESUME_DIR_NAME, resumable
from training.storage.atomic import write_whole
from training.storage.disk import describe_file_error, is_file_error, require_room, unwritable

SHA = "0" * 64


@contextmanager
def small_files() -> Iterator[None]:
    """Limit files to 1,000 bytes, which gives the system's own error as a full disk does.

    Not a fixture, since the limit would also apply to the test report's file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_write_whole_names_the_file_and_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    write_whole(path, lambda stream: stream.write(b"old"))
    with pytest.raises(OSError, match="too large") as caught, small_files():
        write_whole(path, lambda stream: stream.write(bytes(2000)))
    assert is_file_error(caught.value)
    assert describe_file_error(caught.value).startswith(f"{path} cannot be written (")
    assert unwritable(caught.value.filename, caught.value).startswith(f"{path} cannot be written (")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (PermissionError(13, "Permission denied", "x"), "x cannot be used (Permission denied)."),
        (OSError(36, "File name too long", "y" * 999), "cannot be used (File name too long)."),
        (IsADirectoryError(21, "Is a directory", "d"), "d cannot be used (Is a directory)."),
    ],
)
def test_describe_file_error_does_not_ask_for_room(error: OSError, says: str) -> None:
    assert is_file_error(error)
    assert says in describe_file_error(error)
    assert "oom" not in describe_file_error(error)
    assert len(describe_file_error(error)) < 300


def test_unwritable_asks_for_room_only_if_the_disk_is_full() -> None:
    assert "Make room" in unwritable("x", OSError(28, "No space left on device"))
    assert "Change its permissions" in unwritable("x", OSError(13, "Permission denied"))


def test_checkpoint_that_does_not_fit_keeps_the_previous_one(
    tmp_path: Path, tiny_config: Path
) -> None:
    def overfill() -> None:
        with resumable(tmp_path, identify(read_config(tiny_config), SHA, None)) as checkpoints:
            checkpoints.write("head.npz", lambda stream: stream.write(b"first"))
            with small_files():
                checkpoints.write("head.npz", lambda stream: stream.write(bytes(2000)))

    with pytest.raises(RunError, match="the same command again: it resumes where it stopped"):
        overfill()
    assert [path.read_bytes() for path in tmp_path.glob(f"{RESUME_DIR_NAME}/*/*.npz")] == [b"first"]


def test_require_room_checks_the_disk(tmp_path: Path) -> None:
    require_room(tmp_path / "new", 1000, "This")
    with pytest.raises(RunError, match="This needs 1099511627776 MiB"):
        require_room(tmp_path, 2**60, "This")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(RunError, match="cannot be written"):
        require_room(tmp_path / "file", 0, "This")
