"""Reading the collection's feature table: values, gaps, names, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.training.table.drawing import HEADER, N_ROWS, Rows, drawn_rows, write_rows, write_table
from training.data.feature_columns import (
    BOOKKEEPING_COLUMNS,
    COUNT_COLUMNS,
    FEATURE_COLUMNS,
    TEXTURE_COLUMNS,
)
from training.data.feature_table import feature_source, find_feature_table, read_feature_table
from training.data.index import Index, IndexRules, index_tiles
from training.data.tile_rules import Rule, TileProblem
from training.errors import DataError

CONTRAST = "Texture_Contrast_3_0"


def indexed(folder: Path, rules: IndexRules | None = None) -> tuple[Index, tuple[TileProblem, ...]]:
    return index_tiles(feature_source(folder), folder, rules or IndexRules())


def only_problem(folder: Path) -> TileProblem:
    index, problems = indexed(folder)
    assert len(index.tiles) == N_ROWS - 1
    assert len(problems) == 1, problems
    return problems[0]


def test_the_columns_are_those_of_the_published_table() -> None:
    assert (len(TEXTURE_COLUMNS), len(COUNT_COLUMNS), len(FEATURE_COLUMNS)) == (53, 9, 62)
    assert len(set(FEATURE_COLUMNS)) == 62
    assert not set(FEATURE_COLUMNS) & set(BOOKKEEPING_COLUMNS)


def test_read_feature_table_keeps_the_order_of_the_columns(tmp_path: Path) -> None:
    rows = drawn_rows()
    table = read_feature_table(write_rows(tmp_path / "t.csv", rows, sorted(HEADER)))
    expected = [[float(row[column]) for column in FEATURE_COLUMNS] for row in rows]
    np.testing.assert_array_equal([row.measures for row in table.rows], expected)
    assert {row.problem for row in table.rows} == {None}


@pytest.mark.parametrize("text", ["NA", "", "NaN", " n/a "])
def test_a_value_that_was_not_measured_is_nan(tmp_path: Path, text: str) -> None:
    write_table(tmp_path, lambda rows: rows[3].update({"area": text, "circularity": text}))
    row = read_feature_table(find_feature_table(tmp_path)).rows[3]
    assert math.isnan(row.measures[FEATURE_COLUMNS.index("area")])
    assert np.isnan(row.measures).sum() == 2
    assert feature_source(tmp_path).notes == ("2 values not measured, in 1 row.",)
    index, problems = indexed(tmp_path)
    assert (len(index.tiles), problems) == (N_ROWS, ())


@pytest.mark.parametrize("text", ["abc", "inf", "-Infinity", "1e999", "1_000", "0,5"])
def test_a_value_that_is_no_finite_number_is_named_with_row_and_column(
    tmp_path: Path, text: str
) -> None:
    write_table(tmp_path, lambda rows: rows[3].update({CONTRAST: text}))
    problem = only_problem(tmp_path)
    assert problem.rule is Rule.MEASURE
    assert problem.where == "ML_Features_drawn.csv, line 5"
    assert problem.detail == f"{CONTRAST} is {text!r}, which is not a finite number"


def test_a_row_without_any_value_is_a_problem(tmp_path: Path) -> None:
    write_table(tmp_path, lambda rows: rows[0].update(dict.fromkeys(FEATURE_COLUMNS, "NA")))
    assert only_problem(tmp_path).detail == "no feature has a value"


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
        ("image.name", "slide 7", Rule.NAME),
        ("classification", "Necrotic", Rule.LABEL),
        ("image.name", "Case-3 A1-1000-4990.jpg", Rule.REPEATED_ROW),
    ],
)
def test_a_wrong_row_is_named_with_its_line(
    tmp_path: Path, column: str, value: str, rule: Rule
) -> None:
    write_table(tmp_path, lambda rows: rows[6].update({column: value}))
    problem = only_problem(tmp_path)
    assert problem.rule is rule
    assert problem.where == "ML_Features_drawn.csv, line 8"


def test_two_rows_with_the_same_measures_are_duplicates_however_they_are_spelled(
    tmp_path: Path,
) -> None:
    def repeat(rows: Rows) -> None:
        rows[7].update({column: f"{rows[2][column]}0" for column in FEATURE_COLUMNS})

    write_table(tmp_path, repeat)
    problem = only_problem(tmp_path)
    assert problem.rule is Rule.DUPLICATE
    assert problem.where == "ML_Features_drawn.csv, line 9"
    assert problem.detail == "same as ML_Features_drawn.csv, line 4"


def test_names_and_labels_may_be_written_with_variants(tmp_path: Path) -> None:
    def spell(rows: Rows) -> None:
        for row in rows:
            row["image.name"] = row["image.name"].replace("-", " \u2013 ") + ".jpg"
            row["classification"] = row["classification"].upper()

    write_table(tmp_path / "plain")
    write_table(tmp_path / "spelled", spell)
    plain, spelled = indexed(tmp_path / "plain"), indexed(tmp_path / "spelled")
    assert spelled[1] == ()
    for one, other in zip(plain[0].tiles, spelled[0].tiles, strict=True):
        assert other.model_copy(update={"raw_label": one.raw_label}) == one


def test_the_index_does_not_depend_on_the_order_and_the_numbers_of_the_rows(tmp_path: Path) -> None:
    def reorder(rows: Rows) -> None:
        rows.sort(key=lambda row: row["area"])
        for number, row in enumerate(rows):
            row.update({column: str(7 * number) for column in BOOKKEEPING_COLUMNS})

    write_table(tmp_path / "sorted")
    write_table(tmp_path / "reordered", reorder)
    assert indexed(tmp_path / "sorted")[0].tiles == indexed(tmp_path / "reordered")[0].tiles


@pytest.mark.parametrize(
    ("policy", "n_rows", "label"),
    [("viable", 36, "viable_tumor"), ("exclude", 35, None), ("non_viable", 36, "non_viable_tumor")],
)
def test_mixed_tiles_follow_the_policy(
    tmp_path: Path, policy: str, n_rows: int, label: str | None
) -> None:
    write_table(tmp_path, lambda rows: rows[0].update({"classification": "Viable: Non-Viable"}))
    index, problems = indexed(tmp_path, IndexRules(mixed_tiles=policy))  # type: ignore[arg-type] # one of the policies
    assert (len(index.tiles), problems) == (n_rows, ())
    mixed = [tile.label for tile in index.tiles if tile.raw_label == "Viable: Non-Viable"]
    assert mixed == ([label] if label else [])


def test_read_feature_table_names_the_missing_columns(tmp_path: Path) -> None:
    header = [name for name in HEADER if name not in (CONTRAST, "area", "Blue_count", "red_count")]
    path = write_rows(tmp_path / "t.csv", drawn_rows(), header)
    with pytest.raises(DataError, match=r"lacks the columns Blue_count, .*area and 1 more\.$"):
        read_feature_table(path)


def test_find_feature_table_passes_over_tables_of_labels(tmp_path: Path) -> None:
    write_rows(tmp_path / "labels.csv", drawn_rows(), ["image.name", "classification"])
    table = write_table(tmp_path / "below")
    assert find_feature_table(tmp_path) == table
    beside = write_table(tmp_path)
    assert find_feature_table(tmp_path) == beside


def test_find_feature_table_says_what_the_closest_table_lacks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no feature table, such as"):
        find_feature_table(tmp_path)
    header = [name for name in HEADER if name != CONTRAST]
    write_rows(tmp_path / "close.csv", drawn_rows(), header)
    write_rows(tmp_path / "labels.csv", drawn_rows(), ["image.name", "classification"])
    with pytest.raises(DataError, match=rf"close\.csv lacks the column {CONTRAST}\. Name it"):
        find_feature_table(tmp_path)


def test_find_feature_table_refuses_two(tmp_path: Path) -> None:
    write_table(tmp_path)
    write_rows(tmp_path / "again.csv", drawn_rows())
    with pytest.raises(DataError, match="more than one table"):
        find_feature_table(tmp_path)


def test_feature_source_refuses_a_table_outside_the_data_folder(tmp_path: Path) -> None:
    table = write_table(tmp_path / "elsewhere")
    (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="Set --data-dir to the folder of the table"):
        feature_source(tmp_path / "data", table)


def test_the_published_copy_with_empty_columns_is_read(tmp_path: Path) -> None:
    text = write_table(tmp_path).read_text().replace("image.name", "image_name")
    (tmp_path / "ML_Features_drawn.csv").write_text(text.replace("\n", ",,\n"))
    index, problems = indexed(tmp_path)
    assert (len(index.tiles), problems) == (N_ROWS, ())
