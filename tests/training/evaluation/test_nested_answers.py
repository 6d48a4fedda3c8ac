"""Reading the answers of a nested choice: only about the tiles of the index, each once a seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from training.data.index import Index
from training.data.labels import COLLECTION_LABELS, LABEL_IDS
from training.errors import DataError
from training.evaluation.nested_answers import COLUMNS, NestedResult, read_nested_answers

Rows = list[list[str]]


def rows_of(index: Index, n_wrong: dict[tuple[str, str], int]) -> Rows:
    """Answers about every tile for each seed and kind, of which the first ones are wrong."""
    rows: Rows = []
    for (seed, kind), wrong in n_wrong.items():
        for position, tile in enumerate(index.tiles):
            truth = LABEL_IDS.index(tile.label)
            predicted = (truth + (position < wrong)) % 3
            rows.append([seed, kind, "fold", tile.name, "0", str(truth), str(predicted)])
        rows.append([seed, kind, "fold", "a thumbnail", "1", "0", "1"])
    return rows


def read(
    folder: Path, index: Index, rows: Rows, columns: tuple[str, ...] = COLUMNS
) -> NestedResult:
    path = folder / "answers.csv"
    path.write_text("\n".join(",".join(row) for row in [list(columns), *rows]) + "\n")
    return read_nested_answers(path, index, COLLECTION_LABELS)


def test_read_nested_answers_counts_the_tiles_of_each_seed(
    tmp_path: Path, drawn_index: Index
) -> None:
    wrong = {("0", "patient"): 3, ("0", "slide"): 1, ("4", "patient"): 0, ("4", "slide"): 1}
    found = read(tmp_path, drawn_index, rows_of(drawn_index, wrong))
    assert found.seeds == 2
    assert (found.patient.n_tiles, found.patient.n_correct) == (12, (9, 12))
    # One tile of each label, four in all, is called the next label: 3 of 4 right, F1 0.75 each.
    assert found.patient.macro_f1 == pytest.approx((0.75 + 1) / 2)
    assert found.slide is not None
    assert found.slide.n_correct == (11, 11)


def test_read_nested_answers_needs_no_slides(tmp_path: Path, drawn_index: Index) -> None:
    found = read(tmp_path, drawn_index, rows_of(drawn_index, {("0", "patient"): 3}))
    assert found.slide is None


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (3, "Case 9 A1-1-1", r"line 2: the index has no tile 'Case 9 A1-1-1' with label [012]"),
        (5, "other", r"line 2: the index has no tile .* with label [012].*same index"),
        (6, "3", r"line 2: label and predicted are '[012]' and '3'; each must be one of 0 to 2"),
        (6, "", r"label and predicted are '[012]' and ''"),
        (4, "1", r"seed 0 has 11 answers by patient for 12 tiles"),
        (1, "slide", r"seed 0 has 11 answers by patient for 12 tiles"),
    ],
)
def test_read_nested_answers_refuses_what_is_not_about_the_index(
    tmp_path: Path, drawn_index: Index, position: int, value: str, message: str
) -> None:
    rows = rows_of(drawn_index, {("0", "patient"): 3})
    first = rows[0]
    first[position] = str((int(first[5]) + 1) % 3) if value == "other" else value
    with pytest.raises(DataError, match=message):
        read(tmp_path, drawn_index, rows)


def test_read_nested_answers_refuses_a_tile_that_is_answered_twice(
    tmp_path: Path, drawn_index: Index
) -> None:
    rows = rows_of(drawn_index, {("0", "patient"): 3})
    rows[0] = rows[1]
    with pytest.raises(DataError, match="must answer each tile once"):
        read(tmp_path, drawn_index, rows)


def test_read_nested_answers_refuses_a_file_without_cases(
    tmp_path: Path, drawn_index: Index
) -> None:
    with pytest.raises(DataError, match="no answer of a case that was left out"):
        read(tmp_path, drawn_index, rows_of(drawn_index, {("0", "slide"): 3}))


def test_read_nested_answers_refuses_another_table(tmp_path: Path, drawn_index: Index) -> None:
    rows = rows_of(drawn_index, {("0", "patient"): 3})
    with pytest.raises(DataError, match=r"Name the answers\.csv"):
        read(tmp_path, drawn_index, rows, (*COLUMNS[:-1], "answer"))
    with pytest.raises(DataError, match="cannot be read"):
        read_nested_answers(tmp_path / "none.csv", drawn_index, COLLECTION_LABELS)
