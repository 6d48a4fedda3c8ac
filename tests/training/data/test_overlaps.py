from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.index import Index, IndexedTile
from training.data.labels import LABEL_IDS
from training.data.overlaps import FOOTPRINTS_PX, overlap_groups, overlapping_pairs
from training.data.splits import Split, fold_positions, make_split, read_split
from training.data.tile_names import parse_tile_name
from training.errors import SplitError
from training.evaluation.leakage import find_leaks, require_no_leaks
from training.storage.frozen_model import write_json

SHA = "0" * 64
NAMES_FILE = "image_names_1144.csv"
Corner = tuple[int, int, int]


def tile_of(name: str, label: str, number: int = 0) -> IndexedTile:
    parsed = parse_tile_name(name)
    return IndexedTile(
        name=f"{name}-{number}",
        file="",
        sha256=SHA,
        case=parsed.case,
        slide=parsed.slide,
        x=parsed.x,
        y=parsed.y,
        raw_label="",
        label=label,
    )


def index_of(corners: list[Corner]) -> Index:
    """Tiles at (block, x, y), with the labels in rotation."""
    tiles = tuple(
        tile_of(f"Case-3-A{block}-{x}-{y}", LABEL_IDS[i % 3], i)
        for i, (block, x, y) in enumerate(corners)
    )
    return Index(mixed_tiles="viable", table="t.csv", table_sha256=SHA, tiles=tiles)


CORNERS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 40), st.integers(0, 40)), min_size=1, max_size=50
)


@given(corners=CORNERS, footprint=st.integers(1, 15))
def test_overlapping_pairs_equals_a_check_of_every_pair(
    corners: list[Corner], footprint: int
) -> None:
    tiles = index_of(corners).tiles
    expected = [
        [i, j]
        for i, a in enumerate(corners)
        for j, b in enumerate(corners)
        if i < j and a[0] == b[0] and abs(a[1] - b[1]) < footprint and abs(a[2] - b[2]) < footprint
    ]
    assert overlapping_pairs(tiles, footprint).tolist() == expected


def test_overlap_groups_joins_chains_of_overlaps() -> None:
    tiles = index_of([(1, 0, 0), (1, 20, 0), (1, 10, 0), (1, 50, 0), (2, 0, 0)]).tiles
    groups = overlap_groups(tiles, 11)
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 3


@settings(deadline=None, max_examples=15)
@given(corners=CORNERS, footprint=st.integers(1, 15), n_folds=st.integers(1, 4))
def test_make_split_with_a_footprint_leaks_nothing_or_refuses(
    corners: list[Corner], footprint: int, n_folds: int
) -> None:
    index = index_of(corners)
    try:
        split = make_split(index, SHA, "random", n_folds, 0, footprint)
    except SplitError:
        return
    leaks = find_leaks(index, split, footprint)
    assert (leaks.n_pairs, leaks.n_leaked) == (0, 0)
    require_no_leaks(index, split, footprint)
    if n_folds > 1:
        assert leaks.n_tested == len(corners)


@pytest.fixture(scope="session")
def real_names(real_tiles_dir: Path) -> Index:
    """The names of the whole collection; the table has no labels, so they are made up."""
    with (real_tiles_dir / NAMES_FILE).open(newline="") as stream:
        names = [row["image.name"] for row in csv.DictReader(stream)]
    tiles = [tile_of(name, LABEL_IDS[i % 3], i) for i, name in enumerate(names)]
    return Index(mixed_tiles="viable", table=NAMES_FILE, table_sha256=SHA, tiles=tuple(tiles))


@pytest.mark.real_tiles
@pytest.mark.parametrize(
    ("footprint", "n_pairs", "n_tiles"), [(1024, 71, 135), (2048, 226, 361), (4096, 870, 877)]
)
def test_overlapping_pairs_of_the_collection_are_as_documented(
    real_names: Index, footprint: int, n_pairs: int, n_tiles: int
) -> None:
    pairs = overlapping_pairs(real_names.tiles, footprint)
    assert len(real_names.tiles) == 1144
    assert (len(pairs), len(np.unique(pairs))) == (n_pairs, n_tiles)


@pytest.mark.real_tiles
@pytest.mark.parametrize(
    ("footprint", "n_folds"),
    [
        pytest.param(FOOTPRINTS_PX[0], 10, marks=pytest.mark.exhaustive),
        *zip(FOOTPRINTS_PX[1:], (1, 5), strict=True),
    ],
)
def test_make_split_repairs_a_random_split_of_the_collection(
    real_names: Index, footprint: int, n_folds: int
) -> None:
    leaking = make_split(real_names, SHA, "random", n_folds)
    leaks = find_leaks(real_names, leaking, footprint)
    assert 0 < leaks.n_leaked <= leaks.n_tested
    with pytest.raises(SplitError, match="repair"):
        require_no_leaks(real_names, leaking, footprint)
    repaired = make_split(real_names, SHA, "random", n_folds, 0, footprint)
    require_no_leaks(real_names, repaired, footprint)
    sizes = [len(fold.test) for fold in repaired.folds]
    assert all(abs(size - 1144 / (n_folds if n_folds > 1 else 10)) < 12 for size in sizes)
    for fold in repaired.folds:
        _, test = fold_positions(real_names, fold)
        assert {real_names.labels[i] for i in test} == set(LABEL_IDS)


@pytest.mark.real_tiles
@pytest.mark.parametrize("kind", ["slide", "patient"])
def test_make_split_by_slide_or_patient_leaks_nothing_in_the_collection(
    real_names: Index, kind: str
) -> None:
    split = make_split(real_names, SHA, kind)  # type: ignore[arg-type] # a kind of split
    assert find_leaks(real_names, split, 4096).n_pairs == 0


def test_write_split_omits_the_footprint_when_overlaps_are_ignored(tmp_path: Path) -> None:
    index = index_of([(1 + i % 2, 30 * i, 0) for i in range(12)])
    plain, repaired = (make_split(index, SHA, "random", 2, 0, px) for px in (None, 20))
    write_json(tmp_path / "plain.json", plain)
    assert "footprint_px" not in (tmp_path / "plain.json").read_text()
    write_json(tmp_path / "repaired.json", repaired)
    assert read_split(tmp_path / "repaired.json", SHA)[0] == repaired
    assert repaired.footprint_px == 20
    assert isinstance(repaired, Split)
