"""A plain table and folders of labels become an index, or say what is wrong."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.training.own_tiles.drawing import (
    LABEL_IDS,
    SIDE_PX,
    draw,
    write_folders,
    write_table,
)
from training.data.index import Index, IndexRules, index_tiles
from training.data.index_checks import require_no_problems, require_tiles
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS
from training.data.layouts import open_source
from training.data.tile_rules import SYNTHETIC_NOTE, Rule, TileProblem, TileSide
from training.errors import DataError, TileProblemsError

PLACES = ("file", "label", "slide", "case", "x", "y")


def index_of(
    folder: Path, labels: LabelSet, side_px: TileSide = SIDE_PX
) -> tuple[Index, tuple[TileProblem, ...]]:
    return index_tiles(open_source(folder, labels), folder, IndexRules(labels, side_px=side_px))


def only_problem(folder: Path, labels: LabelSet) -> TileProblem:
    _, (problem,) = index_of(folder, labels)
    return problem


def small_table(folder: Path, *rows: str, header: str = "file,label") -> Path:
    folder.mkdir(exist_ok=True)
    for i in range(2):
        (folder / f"{i}.png").write_bytes(draw(i, i))
    (folder / "t.csv").write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return folder


def test_index_reads_every_column_of_a_plain_table(tmp_path: Path, four_labels: LabelSet) -> None:
    index, problems = index_of(write_table(tmp_path / "d", PLACES), four_labels)
    assert problems == ()
    assert len(index.tiles) == 16
    first = index.tiles[0]
    assert (first.name, first.file, first.raw_label) == ("png/0.png", "png/0.png", "Bindegewebe")
    assert (first.case, first.slide, first.x, first.y) == ("K0", "S0", 0, 0)
    assert set(index.labels) == set(LABEL_IDS)
    assert index.knows_corners


@pytest.mark.parametrize(
    ("group", "slide", "case"),
    [("", None, None), ("SLIDE", "S0", None), ("CASE/SLIDE", "K0/S0", "K0")],
)
def test_index_reads_slide_and_case_from_folders(
    tmp_path: Path, four_labels: LabelSet, group: str, slide: str | None, case: str | None
) -> None:
    index, problems = index_of(write_folders(tmp_path / "d", group), four_labels)
    assert problems == ()
    assert len(index.tiles) == 16
    first = next(tile for tile in index.tiles if tile.file.endswith("/0.png"))
    assert (first.slide, first.case, first.label) == (slide, case, "stroma")
    assert index.table == ""


def test_index_of_the_same_folders_is_the_same_file(tmp_path: Path, four_labels: LabelSet) -> None:
    one, _ = index_of(write_folders(tmp_path / "one"), four_labels)
    other, _ = index_of(write_folders(tmp_path / "other"), four_labels)
    assert one == other
    assert Index.model_validate_json(one.model_dump_json()) == one


def test_open_source_finds_the_labels_one_folder_deeper(
    tmp_path: Path, four_labels: LabelSet
) -> None:
    write_folders(tmp_path / "d" / "tiles")
    source = open_source(tmp_path / "d", four_labels)
    assert source.notes == ("The labels' folders are in tiles.",)
    assert {tile.raw_label for tile in source.tiles} == {
        *("Bindegewebe", "viable SARCOMA", "fat", "Cartilage")
    }


def test_open_source_refuses_ambiguous_folders(tmp_path: Path, four_labels: LabelSet) -> None:
    write_folders(tmp_path / "d" / "train")
    write_folders(tmp_path / "d" / "test")
    with pytest.raises(
        DataError, match=r"folders test, train in .* hold the folders of the labels"
    ):
        open_source(tmp_path / "d", four_labels)
    mixed = write_folders(tmp_path / "mixed")
    (mixed / "fat" / "S1").mkdir()
    (mixed / "fat" / "S1" / "x.png").write_bytes(draw(2, 77))
    with pytest.raises(DataError, match="different depths"):
        open_source(mixed, four_labels)


@pytest.mark.parametrize("spelled", ["png\\0.png", "./png/0.png", "PNG/0.PNG", "png/0"])
def test_plain_table_accepts_other_spellings_of_a_path(
    tmp_path: Path, four_labels: LabelSet, spelled: str
) -> None:
    folder = write_table(tmp_path / "d")
    (folder / "tiles.csv").write_text(f"file;label\n{spelled};FAT\n", encoding="utf-16")
    index, problems = index_of(folder, four_labels)
    assert problems == ()
    assert [(tile.file, tile.label) for tile in index.tiles] == [("png/0.png", "fat")]


def test_plain_table_may_lie_beside_its_tiles_in_a_subfolder(
    tmp_path: Path, four_labels: LabelSet
) -> None:
    small_table(tmp_path / "sub", "0.png,fat", "1.png,stroma")
    index, problems = index_of(tmp_path, four_labels)
    assert problems == ()
    assert [tile.file for tile in index.tiles] == ["sub/0.png", "sub/1.png"]


@pytest.mark.parametrize(
    ("row", "rule", "says"),
    [
        ("../0.png,fat", Rule.PLACE, "'../0.png' is not a path inside"),
        ("/etc/0.png,fat", Rule.PLACE, "is not a path inside"),
        ("C:\\0.png,fat", Rule.PLACE, "is not a path inside"),
        (",fat", Rule.PLACE, "'' is not a path"),
        (".,fat", Rule.PLACE, "'.' is not a path"),
        (f"{'x' * 999}.png,fat", Rule.NO_FILE, "x.png is not in"),
        ("t.csv,fat", Rule.NO_FILE, "t.csv is none of .jpg, "),
        ("9.png,fat", Rule.NO_FILE, "9.png is not in"),
        ("0.png,fat", Rule.REPEATED_ROW, "0.png"),
        ("1.png,Knochen", Rule.LABEL, "'Knochen' is not one of Stroma, Viable sarcoma"),
        ("1.png,", Rule.LABEL, "'' is not one of"),
    ],
)
def test_plain_table_names_the_row_that_breaks_a_rule(
    tmp_path: Path, four_labels: LabelSet, row: str, rule: Rule, says: str
) -> None:
    problem = only_problem(small_table(tmp_path / "d", "0.png,fat", row), four_labels)
    assert problem.rule is rule
    assert says in str(problem)


@pytest.mark.parametrize("value", ["", "half", "1.5"])
def test_plain_table_names_a_row_without_a_place(
    tmp_path: Path, four_labels: LabelSet, value: str
) -> None:
    rows = ("0.png,fat,S1,10.0", f"1.png,fat,S1,{value}")
    folder = small_table(tmp_path / "d", *rows, header="file,label,slide,x")
    problem = only_problem(folder, four_labels)
    assert (problem.rule, problem.where) == (Rule.GROUP, "t.csv, line 3")


def test_plain_table_keeps_slides_of_one_name_and_two_cases_apart(
    tmp_path: Path, four_labels: LabelSet
) -> None:
    rows = ("0.png,fat,1,A", "1.png,fat,1,B")
    index, _ = index_of(
        small_table(tmp_path / "d", *rows, header="file,label,slide,case"), four_labels
    )
    assert [tile.slide for tile in index.tiles] == ["A/1", "B/1"]


def test_unknown_labels_are_listed_with_the_toml_to_write(tmp_path: Path) -> None:
    folder = write_table(tmp_path / "d")
    index, problems = index_of(folder, COLLECTION_LABELS)
    with pytest.raises(TileProblemsError) as caught:
        require_no_problems(problems, COLLECTION_LABELS, index.labels)
    said = str(caught.value)
    assert "Bindegewebe (4 tiles)" in said
    labels = LabelSet.model_validate(tomllib.loads(said[said.index("[labels]") :])["labels"])
    assert labels.ids == ("bindegewebe", "cartilage", "fat", "viable_sarcoma")
    found, problems = index_of(folder, labels)
    assert (len(found.tiles), problems) == (16, ())


def test_folders_without_a_known_label_are_listed_with_the_toml_to_write(tmp_path: Path) -> None:
    folder = write_folders(tmp_path / "d")
    with pytest.raises(DataError, match=r"Bindegewebe \(4 images\)") as caught:
        open_source(folder, COLLECTION_LABELS)
    said = str(caught.value)
    labels = LabelSet.model_validate(tomllib.loads(said[said.index("[labels]") :])["labels"])
    assert len(index_of(folder, labels)[0].tiles) == 16


def test_require_tiles_refuses_an_index_without_tiles(
    tmp_path: Path, four_labels: LabelSet
) -> None:
    index, problems = index_of(small_table(tmp_path / "d", "0.png,a", "8.png,fat"), four_labels)
    with pytest.raises(DataError, match="No tile is left for the index") as caught:
        require_tiles(index, problems)
    assert "Unknown labels: a (1 tile)" in str(caught.value)


@pytest.mark.parametrize(
    ("side_px", "n_tiles"), [(SIDE_PX, 1), ((64, 96), 2), ((64, 80), 1), ("any", 2), (1024, 0)]
)
def test_index_allows_the_sides_of_the_configuration(
    tmp_path: Path, four_labels: LabelSet, side_px: TileSide, n_tiles: int
) -> None:
    folder = small_table(tmp_path / "d", "0.png,fat", "1.png,fat")
    (folder / "1.png").write_bytes(draw(1, 1, 64))
    index, problems = index_of(folder, four_labels, side_px)
    assert len(index.tiles) == n_tiles
    assert all("data.tile_side_px" in str(problem) for problem in problems)


def test_index_refuses_the_files_of_gan_sample(tmp_path: Path, four_labels: LabelSet) -> None:
    folder = small_table(tmp_path / "d", "0.png,fat")
    note = PngInfo()
    note.add_text("Comment", SYNTHETIC_NOTE)
    Image.open(folder / "0.png").save(folder / "0.png", pnginfo=note)
    assert only_problem(folder, four_labels).rule is Rule.SYNTHETIC


@pytest.mark.parametrize(("mode", "is_read"), [("RGBA", True), ("P", True), ("L", False)])
def test_index_accepts_colour_only(
    tmp_path: Path, four_labels: LabelSet, mode: str, is_read: bool
) -> None:
    folder = small_table(tmp_path / "d", "0.png,fat")
    Image.open(folder / "0.png").convert(mode).save(folder / "0.png")
    index, _ = index_of(folder, four_labels)
    assert bool(index.tiles) == is_read
