"""Thumbnails and table rows: what is read, what is refused, and what may teach a fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.core.manifest import sha256_of_file
from tests.training.table.drawing import HEADER, Rows, drawn_rows, write_rows, write_table
from training.config import TrainingConfig, read_config
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index
from training.data.labels import COLLECTION_LABELS
from training.data.places import Places
from training.errors import DataError, RunError
from training.features.supplements import Supplements, read_supplements
from training.features.texture_rows import read_texture_rows
from training.features.thumbnails import Thumbnails, read_thumbnails
from training.networks.texture_definition import TABLE_COLUMNS
from training.runs.identity import identify

FOLDERS = ("Non-Tumor", "Non-Viable-Tumor", "Viable")
INDEXED = "Case-3-A1-1000-0"
SEEN = "Case-3-A1-7-7"
OTHER_SLIDE = "Case-3-A9-7-7"
OTHER_CASE = "Case-4-A1-7-7"


def write_thumbnails(folder: Path, *names: str) -> Path:
    """One thumbnail for each `LABEL/NAME`, or by default four of them."""
    given = names or (f"Viable/{SEEN}", f"Viable/{INDEXED}", f"Non-Tumor/{OTHER_SLIDE}")
    for seed, name in enumerate(given):
        path = folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_tile(draw_tile("viable_tumor", 108, seed)))
    return folder


def read(folder: Path, index: Index) -> Thumbnails:
    return read_thumbnails(folder, COLLECTION_LABELS, index, 54, 96)


def test_read_thumbnails_leaves_out_the_tiles_of_the_index(
    tmp_path: Path, drawn_index: Index
) -> None:
    found = read(write_thumbnails(tmp_path), drawn_index)
    assert found.names == (OTHER_SLIDE, SEEN)
    assert found.class_indices.tolist() == [0, 2]
    assert found.tiles.shape == (2, 96, 96, 3)
    assert found.tiles.dtype == np.uint8
    assert found.places.slides.tolist() == ["Case-3-A9", "Case-3-A1"]
    assert found.places.cases.tolist() == ["Case 3"] * 2


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ((f"Viable/{SEEN}", f"Necrosis/{OTHER_CASE}"), "Necrosis.*not named after a label"),
        ((f"Viable/{SEEN}", OTHER_CASE), f"{OTHER_CASE}.png is not in a folder.*a label"),
        (("Viable/tile-1",), "'tile-1' is not CASE SLIDE-X-Y"),
        ((f"Viable/{INDEXED}",), "no thumbnail of a tile that is not in the index"),
    ],
)
def test_read_thumbnails_refuses_what_it_cannot_place(
    tmp_path: Path, drawn_index: Index, names: tuple[str, ...], says: str
) -> None:
    with pytest.raises(DataError, match=says):
        read(write_thumbnails(tmp_path, *names), drawn_index)


def test_read_thumbnails_names_a_bad_file(tmp_path: Path, drawn_index: Index) -> None:
    bad = write_thumbnails(tmp_path) / "Viable" / f"{OTHER_CASE}.png"
    bad.write_bytes(b"not a picture")
    with pytest.raises(DataError, match=rf"{OTHER_CASE}\.png cannot be read"):
        read(tmp_path, drawn_index)
    with pytest.raises(DataError, match="none"):
        read(tmp_path / "none", drawn_index)


def test_read_texture_rows_takes_the_measures_of_the_table(tmp_path: Path) -> None:
    rows = drawn_rows()
    rows[3][TABLE_COLUMNS[0]] = "NA"
    rows[4]["classification"] = "viable: non-viable"
    for number, row in enumerate(rows):
        row["X_x"] = str(540 + number)
    table = write_rows(tmp_path / "table.csv", rows)
    read = read_texture_rows(table, COLLECTION_LABELS, "exclude")
    kept = [row for i, row in enumerate(rows) if i not in {3, 4}]
    expected = [[float(row[column]) for column in TABLE_COLUMNS] for row in kept]
    np.testing.assert_array_equal(read.values, expected)
    assert read.class_indices[:5].tolist() == [0, 1, 2, 2, 0]
    assert read.is_thresholded.tolist() == [int(row["X_x"]) >= 547 for row in kept]
    assert sorted(set(read.places.cases)) == ["Case 3", "Case 4", "Case 48"]


def _changed(column: str, value: str) -> Callable[[Rows], object]:
    return lambda rows: rows[2].update({column: value})


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_changed("X_x", "abc"), "line 4: X_x is 'abc', which is not a number"),
        (_changed("X_x", "nan"), "line 4: X_x is 'nan', which is not a number"),
        (_changed("classification", "Cartilage"), "line 4: .*Cartilage"),
        (_changed("image.name", "tile 7"), "line 4: 'tile 7' is not CASE SLIDE-X-Y"),
    ],
)
def test_read_texture_rows_names_the_line(
    tmp_path: Path, change: Callable[[Rows], object], says: str
) -> None:
    table = write_table(tmp_path, change)
    with pytest.raises(DataError, match=says):
        read_texture_rows(table, COLLECTION_LABELS, "exclude")


def test_read_texture_rows_refuses_a_table_without_a_column(tmp_path: Path) -> None:
    lacking = [column for column in HEADER if column != "X_x"]
    table = write_rows(tmp_path / "table.csv", drawn_rows(), lacking)
    with pytest.raises(DataError, match="lacks the column X_x"):
        read_texture_rows(table, COLLECTION_LABELS, "exclude")
    with pytest.raises(DataError, match=r"none\.csv"):
        read_texture_rows(tmp_path / "none.csv", COLLECTION_LABELS, "exclude")


@pytest.fixture
def config(tiny_config: Path) -> TrainingConfig:
    """Texture has a weight, and tiles are shown at low resolution."""
    text = tiny_config.read_text().replace("n_views = 1", "n_views = 1\nlow_resolution_px = 54")
    network = '[network]\nsystem = "tiny"\nhead = "logistic"\ntexture_weight = 1.0\n'
    text = text.replace("[network]\n", network).partition("[fine_tune]")[0]
    tiny_config.write_text(text + '\n[sampling]\nbalance = "label"\n')
    return read_config(tiny_config)


def test_read_supplements_finds_the_feature_table_in_the_data_folder(
    tmp_path: Path, drawn_index: Index, config: TrainingConfig
) -> None:
    with pytest.raises(RunError, match=r"does not hold exactly one.*--feature-table"):
        read_supplements(config, drawn_index, tmp_path)
    table = write_table(tmp_path / "data")
    found = read_supplements(config, drawn_index, tmp_path / "data")
    assert found.thumbnails is None
    assert found.texture_rows is not None
    assert found.texture_rows.sha256 == sha256_of_file(table)
    write_rows(tmp_path / "data" / "second.csv", drawn_rows())
    with pytest.raises(RunError, match="does not hold exactly one"):
        read_supplements(config, drawn_index, tmp_path / "data")


def test_read_supplements_refuses_tiles_with_other_names(
    tmp_path: Path, drawn_index: Index, config: TrainingConfig
) -> None:
    own = drawn_index.model_copy(update={"layout": "folders"})
    with pytest.raises(RunError, match="named as in the collection"):
        read_supplements(config, own, write_table(tmp_path).parent)


def test_digest_changes_with_the_bytes_the_labels_and_the_table(
    tmp_path: Path, drawn_index: Index
) -> None:
    folder = write_thumbnails(tmp_path / "thumbnails", f"Viable/{SEEN}")
    rows = read_texture_rows(write_table(tmp_path / "a"), COLLECTION_LABELS, "exclude")
    start = Supplements(thumbnails=read(folder, drawn_index), texture_rows=rows)
    assert start.digest == replace(start, thumbnails=read(folder, drawn_index)).digest

    table = write_table(tmp_path / "b", _changed("circularity", "0.5"))
    changed = read_texture_rows(table, COLLECTION_LABELS, "exclude")
    digests = {start.digest, replace(start, texture_rows=changed).digest}

    file = folder / "Viable" / f"{SEEN}.png"
    moved = folder / "Non-Tumor" / file.name
    moved.parent.mkdir()
    file.rename(moved)
    digests.add(replace(start, thumbnails=read(folder, drawn_index)).digest)
    moved.write_bytes(encode_tile(draw_tile("viable_tumor", 108, 99)))
    digests.add(replace(start, thumbnails=read(folder, drawn_index)).digest)
    assert len(digests) == 4
    assert Supplements().digest is None


TILES = Places(
    np.array(["Case-3-A1", "Case-3-A2", "Case-4-A1", "Case-4-A2"]),
    np.array(["Case 3", "Case 3", "Case 4", "Case 4"]),
)
NAMES = ("Case-3-A1-7-7", "Case-3-A2-7-7", "Case-3-A9-7-7", "Case-4-A1-7-7", "Case-9-A1-7-7")


@pytest.mark.parametrize(
    ("train", "teaching"),
    [
        ((0, 1, 2, 3), NAMES[:4]),  # a fit on all tiles: unknown cases do not teach
        ((0, 1), (NAMES[0], NAMES[1], NAMES[2])),  # Case 4 is tested
        ((0, 2, 3), (NAMES[0], NAMES[2], NAMES[3])),  # slide A2 of Case 3 is tested
        ((0,), (NAMES[0], NAMES[2])),  # nested: the others are kept away or tested
        ((2,), (NAMES[3],)),
        ((), ()),
    ],
)
def test_may_teach_leaks_no_tested_case_and_no_slide_that_is_kept_away(
    train: tuple[int, ...], teaching: tuple[str, ...]
) -> None:
    allowed = Places.of_names(NAMES).may_teach(TILES, np.array(train, dtype=np.int64))
    assert tuple(np.array(NAMES)[allowed]) == teaching


def test_may_teach_keeps_a_slide_away_when_one_of_its_tiles_is_tested() -> None:
    """In a random split, a slide has training tiles and tested tiles."""
    tiles = Places(np.array(["Case-3-A1"] * 3), np.array(["Case 3"] * 3))
    supplements = Places.of_names(["Case-3-A1-7-7", "Case-3-A2-7-7"])
    assert supplements.may_teach(tiles, np.array([0, 1])).tolist() == [False, True]


def test_identity_of_a_run_names_the_supplements(
    tmp_path: Path, drawn_index: Index, config: TrainingConfig
) -> None:
    found = read_supplements(config, drawn_index, write_table(tmp_path).parent)
    one, other = (identify(config, "a", None, None, given) for given in (found, Supplements()))
    assert one.differences(other.model_dump()) == ["supplements"]
    assert identify(config, "a", None) == other
