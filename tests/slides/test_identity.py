from __future__ import annotations

from pathlib import Path

import pytest

from app.slides.identity import files_of, sha256_of_slide, stamp_of


def written(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())


@pytest.mark.parametrize(
    ("slide", "pixels"),
    [
        ("a.mrxs", "a/Data0000.dat"),
        ("a.vms", "a-level.jpg"),
        ("A.VMU", "other.ngr"),
        ("series", "series/2.dcm"),
    ],
)
def test_a_changed_file_of_a_slide_changes_its_identity(
    tmp_path: Path, slide: str, pixels: str
) -> None:
    written(tmp_path, *([slide] if "." in slide else []), pixels)
    sha256, stamp = sha256_of_slide(tmp_path / slide), stamp_of(tmp_path / slide)
    (tmp_path / pixels).write_bytes(b"other pixels")
    assert sha256_of_slide(tmp_path / slide) != sha256
    assert stamp_of(tmp_path / slide) != stamp


def test_a_file_of_its_own_has_the_sha256_of_its_bytes(tmp_path: Path) -> None:
    written(tmp_path, "a.svs", "b.svs", "a/c.svs")
    assert files_of(tmp_path / "a.svs") == [tmp_path / "a.svs"]
    assert sha256_of_slide(tmp_path / "a.svs").startswith("8357aa46")


def test_names_of_files_do_not_matter(tmp_path: Path) -> None:
    for folder, names in (("one", "ab"), ("two", "cd")):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            (tmp_path / folder / name).write_bytes(b"%d" % number)
    assert sha256_of_slide(tmp_path / "one") == sha256_of_slide(tmp_path / "two")
