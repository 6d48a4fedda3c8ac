from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.slides.outputs.subject import OutputSubject
from app.slides.outputs.writing import OUTPUT_NAMES, write_outputs
from app.slides.results import SlideSummary
from tests.slides.outputs.making import make_overview, make_square, make_subject

NOTICE = b"Research use only. Not a medical device; not for diagnosis or treatment."


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    return make_subject(tmp_path, 16, 12)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def _write(folder: Path, subject: OutputSubject) -> None:
    overview: NDArray[np.uint8] = make_overview(list(subject.rows), subject.summary, 300)
    write_outputs(
        folder,
        subject.summary,
        subject.rows,
        overview,
        subject.manifest,
        subject.cam_shape,
        make_square,
    )


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_write_outputs_writes_all_files_and_nothing_else(
    folder: Path, subject: OutputSubject
) -> None:
    _write(folder, subject)
    assert sorted(_contents(folder)) == sorted(OUTPUT_NAMES)


def test_write_outputs_writes_the_same_bytes_for_the_same_answer(
    folder: Path, subject: OutputSubject
) -> None:
    _write(folder, subject)
    first = _contents(folder)
    _write(folder, subject)
    assert _contents(folder) == first


def test_write_outputs_writes_a_summary_that_reads_back(
    folder: Path, subject: OutputSubject
) -> None:
    _write(folder, subject)
    text = (folder / "summary.json").read_text(encoding="utf-8")
    assert SlideSummary.model_validate_json(text) == subject.summary
    assert json.loads(text)["status"] == "preliminary"
    assert text.startswith("{\n  ")


def test_write_outputs_says_in_every_file_that_it_is_preliminary_and_for_research(
    folder: Path, subject: OutputSubject
) -> None:
    _write(folder, subject)
    for name, content in _contents(folder).items():
        assert b"preliminary" in content.lower(), name
        if name == "tiles.csv":
            assert content.count(b"preliminary; research use only") == len(subject.rows)
        else:
            assert NOTICE in content, name


@pytest.mark.parametrize("failing", OUTPUT_NAMES)
def test_write_outputs_leaves_the_older_files_when_the_disk_is_full(
    folder: Path, subject: OutputSubject, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    for name in OUTPUT_NAMES:
        (folder / name).write_bytes(b"older")
    monkeypatch.setattr(Path, "open", _full_disk(failing))
    with pytest.raises(OSError, match="No space left") as raised:
        _write(folder, subject)
    monkeypatch.undo()
    assert raised.value.errno == errno.ENOSPC
    assert _contents(folder) == dict.fromkeys(OUTPUT_NAMES, b"older")


def _full_disk(failing: str) -> Callable[..., object]:
    """A `Path.open` whose file of this name takes no byte: Linux's device for that."""
    real_open = Path.open

    def open_(path: Path, mode: str = "r", *rest: object, **options: object) -> object:
        at = Path("/dev/full") if path.name == failing and "w" in mode else path
        return real_open(at, mode, *rest, **options)  # type: ignore[call-overload] # passed on

    return open_


def test_write_outputs_removes_the_summary_before_it_replaces_files(
    folder: Path, subject: OutputSubject, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write(folder, subject)
    seen = []
    real_replace = Path.replace

    def replace_(path: Path, target: Path) -> Path:
        seen.append((target.name, (folder / "summary.json").exists()))
        return real_replace(path, target)

    monkeypatch.setattr(Path, "replace", replace_)
    _write(folder, subject)
    assert [name for name, _ in seen] == list(OUTPUT_NAMES)
    assert not any(has_summary for _, has_summary in seen)


def test_write_outputs_refuses_a_folder_that_is_missing(
    tmp_path: Path, subject: OutputSubject
) -> None:
    with pytest.raises(FileNotFoundError):
        _write(tmp_path / "missing", subject)


def test_write_outputs_gives_files_the_usual_permissions(
    folder: Path, subject: OutputSubject
) -> None:
    _write(folder, subject)
    usual = folder / "usual"
    usual.write_bytes(b"")
    modes = {(folder / name).stat().st_mode for name in OUTPUT_NAMES}
    assert modes == {usual.stat().st_mode}


def test_write_outputs_replaces_what_an_interrupted_writer_left(
    folder: Path, subject: OutputSubject
) -> None:
    """A killed process leaves its hidden folder."""
    left = folder / ".outputs-killed"
    left.mkdir()
    (left / "tiles.csv").write_bytes(b"half")
    _write(folder, subject)
    assert sorted(_contents(folder)) == sorted(OUTPUT_NAMES)
