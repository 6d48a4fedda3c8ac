from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.manifest import SplitKind
from training.data.index import Index, IndexedTile
from training.data.labels import LABEL_IDS
from training.data.splits import Fold, Split, fold_positions, make_split, read_split
from training.errors import SplitError
from training.evaluation.leakage import find_leaks
from training.storage.frozen_model import write_json

SHA = "0" * 64


def index_of(tiles: list[tuple[int, int, int]]) -> Index:
    """An index of (case, block, label) triples; blocks are numbered within their case."""
    made = [
        IndexedTile(
            name=f"Case-{case}-A{block}-{1000 * i}-0",
            file="",
            sha256=SHA,
            case=f"Case {case}",
            slide=f"Case-{case}-A{block}",
            x=1000 * i,
            y=0,
            raw_label="",
            label=LABEL_IDS[label],
        )
        for i, (case, block, label) in enumerate(tiles)
    ]
    return Index(mixed_tiles="viable", table="t.csv", table_sha256=SHA, tiles=tuple(made))


TILES = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 5), st.integers(0, 2)), min_size=1, max_size=60
)


@settings(deadline=None, max_examples=60)
@given(
    tiles=TILES,
    kind=st.sampled_from(["random", "slide", "patient"]),
    n_folds=st.integers(1, 6),
    seed=st.integers(0, 9),
)
def test_make_split_keeps_groups_apart_or_refuses(
    tiles: list[tuple[int, int, int]], kind: SplitKind, n_folds: int, seed: int
) -> None:
    index = index_of(tiles)
    try:
        split = make_split(index, SHA, kind, n_folds, seed)
    except SplitError:
        return
    tested: list[int] = []
    for fold in split.folds:
        train, test = fold_positions(index, fold)
        assert len(test) > 0
        assert sorted([*train, *test]) == list(range(len(tiles)))
        tested += test.tolist()
        for what in {"slide": ("slide",), "patient": ("slide", "case")}.get(kind, ()):
            groups = [getattr(tile, what) for tile in index.tiles]
            assert not {groups[i] for i in train} & {groups[i] for i in test}
    if kind != "random" or n_folds > 1:
        assert sorted(tested) == list(range(len(tiles)))
    assert split == make_split(index, SHA, kind, n_folds, seed)


def test_make_split_holds_out_a_stratified_tenth_when_random_with_one_fold() -> None:
    index = index_of([(0, i % 5, i % 3) for i in range(60)])
    (fold,) = make_split(index, SHA, "random", 1).folds
    _, test = fold_positions(index, fold)
    labels = [index.tiles[i].label for i in test]
    assert {label: labels.count(label) for label in LABEL_IDS} == dict.fromkeys(LABEL_IDS, 2)


def test_make_split_names_patient_folds_by_case() -> None:
    split = make_split(index_of([(c, 0, 0) for c in (3, 1, 3, 2)]), SHA, "patient")
    assert [fold.name for fold in split.folds] == ["Case 1", "Case 2", "Case 3"]
    assert split.seed is None


@pytest.mark.parametrize(("kind", "n_folds"), [("slide", 3), ("random", 1), ("random", 3)])
def test_make_split_refuses_more_folds_than_groups(kind: SplitKind, n_folds: int) -> None:
    with pytest.raises(SplitError, match="at least"):
        make_split(index_of([(0, 0, 0), (0, 1, 1)]), SHA, kind, n_folds)


def test_find_leaks_counts_only_pairs_of_a_training_and_a_test_tile() -> None:
    index = index_of([(0, 0, 0), (0, 0, 0), (0, 1, 0), (0, 0, 0)])  # x: 0, 1000, 2000, 3000
    names = [tile.name for tile in index.tiles]
    fold = Fold(name="f", test=(names[1],))
    split = Split(kind="random", seed=0, index_sha256=SHA, folds=(fold,))
    n_pairs = [find_leaks(index, split, px).n_pairs for px in (1000, 1024, 2048, 4096)]
    assert n_pairs == [0, 1, 2, 2]
    by_slide = make_split(index, SHA, "slide", 2)
    assert find_leaks(index, by_slide, 4096).n_pairs == 0


def test_read_split_returns_what_was_written(tmp_path: Path) -> None:
    split = make_split(index_of([(0, i, i % 3) for i in range(9)]), SHA, "slide", 3)
    sha256 = write_json(tmp_path / "s.json", split)
    assert read_split(tmp_path / "s.json", SHA) == (split, sha256)


def test_read_split_refuses_other_files_and_splits_of_other_indexes(tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    with pytest.raises(SplitError, match="osteo-train split"):
        read_split(path, SHA)
    path.write_text("[]")
    with pytest.raises(SplitError, match="is not a split"):
        read_split(path, SHA)
    write_json(path, make_split(index_of([(0, i, 0) for i in range(4)]), SHA, "slide", 2))
    with pytest.raises(SplitError, match="splits another index"):
        read_split(path, "1" * 64)


def test_fold_positions_refuses_an_unknown_tile() -> None:
    with pytest.raises(SplitError, match="tests nobody"):
        fold_positions(index_of([(0, 0, 0)]), Fold(name="f", test=("nobody",)))


def test_fold_positions_are_ascending() -> None:
    index = index_of([(0, i, 0) for i in range(5)])
    train, test = fold_positions(
        index, Fold(name="f", test=(index.tiles[3].name, index.tiles[0].name))
    )
    np.testing.assert_array_equal(train, [1, 2, 4])
    np.testing.assert_array_equal(test, [0, 3])
