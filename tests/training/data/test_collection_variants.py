"""What people have of the collection: other formats, folders, encodings and spellings."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.training.conftest import DRAWN_SIDE_PX
from training.data.index import Index, IndexRules, index_tiles
from training.data.labels import COLLECTION_LABELS
from training.data.layouts import open_source
from training.data.tile_rules import Rule, TileProblem
from training.errors import DataError

SET = Path("Training-Set-1/set1")


def index_of(folder: Path) -> tuple[Index, tuple[TileProblem, ...], tuple[str, ...]]:
    source = open_source(folder, COLLECTION_LABELS)
    index, problems = index_tiles(source, folder, IndexRules(side_px=DRAWN_SIDE_PX))
    return index, problems, source.notes


def retype(text: Callable[[str], str], encoding: str = "utf-8") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        table = folder / "features.csv"
        table.write_bytes(text(table.read_text()).encode(encoding))

    return change


def without_header(text: str) -> str:
    return text.partition("\n")[2]


def to_nested_table(folder: Path) -> None:
    """Only the collection's PathologistValidation.csv: no header, names with `.jpg`."""
    text = without_header((folder / "features.csv").read_text()).replace(",", ".jpg,")
    (folder / "features.csv").unlink()
    (folder / SET / "PathologistValidation.csv").write_text(text)


def to_two_nested_tables(folder: Path) -> None:
    first, *others = without_header((folder / "features.csv").read_text()).splitlines()
    (folder / "features.csv").unlink()
    (folder / SET / "PathologistValidation.csv").write_text(first)
    (folder / "Training-Set-1/set2").mkdir()
    (folder / "Training-Set-1/set2/PathologistValidation.csv").write_text("\n".join(others))


def beside_validation(folder: Path) -> None:
    """A table with a header is preferred to one without."""
    text = without_header((folder / "features.csv").read_text())
    (folder / "PathologistValidation.csv").write_text(text)


def add_companion_files(folder: Path) -> None:
    (folder / SET / "._Case-4-C0-100-200.jpg").write_bytes(bytes(4096))
    (folder / SET / ".DS_Store").write_bytes(bytes(40))
    (folder / "._features.csv").write_bytes(b"\0\5\26\7")


@pytest.mark.parametrize(
    "change",
    [
        retype(lambda text: text.replace(",", ";")),
        retype(lambda text: text.replace(",", "\t")),
        retype(lambda text: "sep=;\n" + text.replace(",", ";")),
        retype(lambda text: text, "utf-16"),
        retype(lambda text: text, "utf-16-le"),
        retype(lambda text: text, "utf-16-be"),
        retype(lambda text: text, "utf-8-sig"),
        retype(lambda text: text.replace("\n", "\r\n")),
        retype(lambda text: text.replace("\n", ",Größe\n"), "latin-1"),
        retype(lambda text: text.replace("image.name", "Image Name").replace("class", "CLASS")),
        retype(without_header),
        retype(lambda text: text.replace("-200,", "-200.jpg,")),
        retype(lambda text: text.replace("-200,", "-200.JPEG ,")),
        retype(lambda text: text.replace("Case 4 ", "Case\u00a04\u202f")),
        retype(lambda text: text.replace("-", "\u2011").replace("image\u2011", "image-")),
        retype(lambda text: text.replace(",Viable", ",viable ").replace("Non-Tumor", "NON-TUMOR")),
        to_nested_table,
        to_two_nested_tables,
        beside_validation,
        add_companion_files,
    ],
)
def test_index_accepts_what_is_unambiguous(
    collection: Path, change: Callable[[Path], None]
) -> None:
    names = [f"Case-4-C{i}-100-200" for i in range(3)]
    change(collection)
    index, problems, _ = index_of(collection)
    assert problems == ()
    assert [tile.name for tile in index.tiles] == names
    assert index.labels == COLLECTION_LABELS.ids
    assert index.layout == "collection"


@pytest.mark.parametrize("suffix", [".tiff", ".tif", ".png"])
def test_index_names_tiles_of_another_format(collection: Path, suffix: str) -> None:
    for path in sorted((collection / SET).glob("*.jpg")):
        Image.open(path).save(path.with_suffix(suffix))
        path.unlink()
    index, problems, notes = index_of(collection)
    assert problems == ()
    assert len(index.tiles) == 3
    assert notes == (f"3 tiles read from {suffix} files.",)


@pytest.mark.parametrize(
    "place", ["PKG - Osteosarcoma/Training-Set-1/set1", "Training-Set-1", "tiles", "."]
)
def test_index_names_the_folder_of_tiles_that_are_elsewhere(collection: Path, place: str) -> None:
    (collection / place).mkdir(parents=True, exist_ok=True)
    for path in sorted((collection / SET).glob("*.jpg")):
        path.rename(collection / place / path.name)
    index, problems, notes = index_of(collection)
    assert problems == ()
    assert len(index.tiles) == 3
    assert notes == (f"3 tiles found outside Training-Set-*/set*/, in {place}.",)


def test_index_names_two_files_of_a_tile_that_is_elsewhere(collection: Path) -> None:
    tile = (collection / SET / "Case-4-C0-100-200.jpg").rename(collection / "Case-4-C0-100-200.jpg")
    (collection / "copy").mkdir()
    (collection / "copy" / tile.name).write_bytes(tile.read_bytes())
    _, (problem,), _ = index_of(collection)
    assert problem.rule is Rule.DUPLICATE
    assert "copy/Case-4-C0-100-200.jpg" in problem.detail


def test_index_says_which_formats_it_found_if_there_are_no_tiles(collection: Path) -> None:
    for path in sorted((collection / SET).glob("*.jpg")):
        path.rename(path.with_suffix(".bmp"))
    _, problems, _ = index_of(collection)
    assert {problem.rule for problem in problems} == {Rule.NO_FILE}
    assert "3 .bmp" in problems[0].detail


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("t.csv", b"name,diagnosis\n1,2\n", "its first line is 'name, diagnosis'"),
        ("t.csv", b"", "it is empty"),
        ("t.xlsx", b"PK\3\4", "it is a workbook, not text. Save it as CSV"),
        ("t.csv", b"\xd0\xcf\x11\xe0", "it is a workbook"),
        ("t.csv", b"a,b\n\x81\xff", "it is not text in UTF-8, UTF-16 or Latin-1 (byte 4)"),
        ("t.csv", b"a,b\n\0", "it is not text (it contains zero bytes)"),
        ("t.csv", b"file,label,label\n", "the column label is there twice"),
    ],
)
def test_open_source_says_why_each_table_was_passed_over(
    tmp_path: Path, name: str, content: bytes, reason: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match="holds no CSV file with the columns") as caught:
        open_source(tmp_path, COLLECTION_LABELS)
    assert f"Passed over: {name}: " in str(caught.value)
    assert reason in str(caught.value)


def test_open_source_refuses_a_table_whose_rows_have_too_many_values(collection: Path) -> None:
    retype(lambda text: text.replace("200,Viable", "200,Viable,x"))(collection)
    with pytest.raises(DataError, match=r"line 4: the row has 3 values for 2 columns.*quotes"):
        open_source(collection, COLLECTION_LABELS)


@pytest.fixture
def _ordinary_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may read everything; here it is told that it may not read what has no mode bits."""
    allowed = os.access

    def access(path: Path, mode: int) -> bool:
        bits = Path(path).stat().st_mode
        return allowed(path, mode) and bool(bits & 0o400) and bool(bits & 0o100)

    monkeypatch.setattr(os, "access", access)


@pytest.mark.usefixtures("_ordinary_user")
@pytest.mark.parametrize("mode", [0o444, 0o000, 0o111])
@pytest.mark.parametrize("place", ["Training-Set-1/set1", "Training-Set-1", "."])
def test_open_source_names_a_folder_that_cannot_be_read(
    collection: Path, place: str, mode: int
) -> None:
    folder = collection / place
    folder.chmod(mode)
    try:
        with pytest.raises(DataError) as caught:
            open_source(collection, COLLECTION_LABELS)
    finally:
        folder.chmod(0o755)
    assert f"The folder {folder} cannot be read (Permission denied)" in str(caught.value)
    assert "oom" not in str(caught.value)


def test_open_source_refuses_a_name_that_is_too_long() -> None:
    with pytest.raises(DataError, match=r"cannot be used \(File name too long\)"):
        open_source(Path("x" * 300), COLLECTION_LABELS)
