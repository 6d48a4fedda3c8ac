from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from tests.training.conftest import DRAWN_SIDE_PX
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, build_index, read_index
from training.data.index_checks import require_no_problems
from training.data.labels import MixedTiles
from training.data.tile_rules import Rule, TileProblem
from training.errors import DataError, TileProblemsError
from training.storage.frozen_model import write_json

FIRST = "Training-Set-1/set1/Case-4-C0-100-200.jpg"


def index_of(
    folder: Path, mixed_tiles: MixedTiles = "viable"
) -> tuple[Index, tuple[TileProblem, ...]]:
    return build_index(folder, read_table(find_table(folder)), mixed_tiles, DRAWN_SIDE_PX)


def append_row(folder: Path, row: str) -> None:
    with (folder / "features.csv").open("a") as stream:
        stream.write(f"{row}\n")


def only_problem(folder: Path) -> TileProblem:
    index, problems = index_of(folder)
    assert len(problems) == 1
    assert len(index.tiles) + 1 >= 3
    return problems[0]


def test_build_index_lists_every_valid_tile(collection: Path) -> None:
    index, problems = index_of(collection)
    assert problems == ()
    assert [tile.name for tile in index.tiles] == [f"Case-4-C{i}-100-200" for i in range(3)]
    assert index.labels == ("non_tumor", "non_viable_tumor", "viable_tumor")
    tile = index.tiles[0]
    assert (tile.file, tile.case, tile.slide, tile.x, tile.y) == (
        FIRST,
        "Case 4",
        "Case-4-C0",
        100,
        200,
    )


def test_write_index_writes_the_same_bytes_for_every_location_of_the_data(
    collection: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(collection, tmp_path / "elsewhere")
    one = write_json(tmp_path / "a.json", index_of(collection)[0])
    other = write_json(tmp_path / "b.json", index_of(moved)[0])
    assert one == other
    assert read_index(tmp_path / "a.json") == (index_of(moved)[0], one)


@pytest.mark.parametrize(
    ("mixed_tiles", "label"),
    [("viable", "viable_tumor"), ("non_viable", "non_viable_tumor"), ("exclude", None)],
)
def test_build_index_follows_the_mixed_tile_setting(
    collection: Path, mixed_tiles: MixedTiles, label: str | None
) -> None:
    table = collection / "features.csv"
    table.write_text(table.read_text().replace(",Viable", ",viable: non-viable"))
    index, problems = index_of(collection, mixed_tiles)
    assert problems == ()
    assert index.mixed_tiles == mixed_tiles
    assert [t.label for t in index.tiles if t.raw_label == "viable: non-viable"] == (
        [label] if label else []
    )


def test_build_index_reports_a_missing_file(collection: Path) -> None:
    (collection / FIRST).unlink()
    problem = only_problem(collection)
    assert (problem.rule, problem.where) == (Rule.NO_FILE, "Case 4 C0-100-200")


def test_build_index_reports_a_file_without_a_row(collection: Path) -> None:
    shutil.copy(collection / FIRST, collection / FIRST.replace("C0", "C9"))
    problem = only_problem(collection)
    assert (problem.rule, problem.where) == (Rule.NO_ROW, FIRST.replace("C0", "C9"))


@pytest.mark.parametrize("content", [b"", b"not an image"])
def test_build_index_reports_an_unreadable_file(collection: Path, content: bytes) -> None:
    (collection / FIRST).write_bytes(content)
    assert only_problem(collection).rule == Rule.UNREADABLE


def test_build_index_reports_a_truncated_file(collection: Path) -> None:
    whole = (collection / FIRST).read_bytes()
    (collection / FIRST).write_bytes(whole[: len(whole) // 2])
    assert only_problem(collection).rule == Rule.UNREADABLE


def test_build_index_reports_a_tile_that_decodes_in_part(collection: Path) -> None:
    """The service answers for it and marks it; the network must not learn from it."""
    whole = (collection / FIRST).read_bytes()
    (collection / FIRST).write_bytes(whole[:-9] + whole[-2:])
    assert only_problem(collection).rule == Rule.UNREADABLE


def test_build_index_accepts_a_missing_end_marker(collection: Path) -> None:
    whole = (collection / FIRST).read_bytes()
    (collection / FIRST).write_bytes(whole[:-2])
    assert index_of(collection)[1] == ()


def test_build_index_reports_pixels_that_are_not_rgb(collection: Path) -> None:
    Image.open(collection / FIRST).convert("L").save(collection / FIRST)
    problem = only_problem(collection)
    assert problem.rule == Rule.NOT_RGB
    assert "mode is L" in str(problem)


def test_build_index_reports_a_wrong_size(collection: Path) -> None:
    (collection / FIRST).write_bytes(encode_tile(draw_tile("viable_tumor", 96, 3), "JPEG"))
    problem = only_problem(collection)
    assert problem.rule == Rule.WRONG_SIZE
    assert "96 x 96 px, not 128 x 128" in str(problem)


def test_build_index_reports_equal_bytes_under_two_names(collection: Path) -> None:
    shutil.copy(collection / FIRST, collection / FIRST.replace("C0", "C9"))
    append_row(collection, "Case 4 C9-100-200,Viable")
    problem = only_problem(collection)
    assert problem.rule == Rule.DUPLICATE
    assert f"same as {FIRST}" in str(problem)


def test_build_index_reports_two_files_of_one_name(collection: Path) -> None:
    other = collection / "Training-Set-2" / "set1"
    other.mkdir(parents=True)
    shutil.copy(collection / FIRST, other)
    problem = only_problem(collection)
    assert (problem.rule, problem.where) == (Rule.DUPLICATE, FIRST.replace("Set-1", "Set-2"))


def test_build_index_reports_a_second_row(collection: Path) -> None:
    append_row(collection, "Case 4 C0-100-200,Viable")
    problem = only_problem(collection)
    assert (problem.rule, problem.where) == (Rule.REPEATED_ROW, "features.csv, line 5")


@pytest.mark.parametrize(
    ("row", "rule"),
    [("Case 4 C9-1-1,Necrotic", Rule.LABEL), ("tile 17,Viable", Rule.NAME)],
)
def test_build_index_reports_rows_with_an_unknown_label_or_name(
    collection: Path, row: str, rule: Rule
) -> None:
    append_row(collection, row)
    assert only_problem(collection).rule == rule


def test_require_no_problems_names_file_and_rule(collection: Path) -> None:
    (collection / FIRST).write_bytes(b"not an image")
    with pytest.raises(TileProblemsError, match=r"C0-100-200\.jpg: the file must be an image"):
        require_no_problems(index_of(collection)[1])


def test_build_index_refuses_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("image.name,classification\n")
    with pytest.raises(DataError, match="no rows"):
        index_of(tmp_path)


def test_read_index_refuses_missing_and_other_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="osteo-train index"):
        read_index(tmp_path / "index.json")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(DataError, match="not an index"):
        read_index(tmp_path / "index.json")


@pytest.mark.real_tiles
def test_build_index_accepts_every_tile_of_the_real_sample(real_dir: Path) -> None:
    index, problems = build_index(real_dir, read_table(find_table(real_dir)))
    assert problems == ()
    assert {label: index.labels.count(label) for label in sorted(set(index.labels))} == {
        "non_tumor": 14,
        "non_viable_tumor": 13,
        "viable_tumor": 14,
    }
    assert len({tile.slide for tile in index.tiles}) == 19
    assert {tile.case for tile in index.tiles} == {"Case 3", "Case 4", "Case 48", "P9"}
