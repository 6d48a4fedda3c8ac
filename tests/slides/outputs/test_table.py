from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from app.core.manifest import Label
from app.slides.outputs.subject import OutputSubject
from app.slides.outputs.table import write_table
from tests.slides.outputs.making import MPP, SIDE_LEVEL0, make_subject


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    return make_subject(tmp_path)


def _written(path: Path, subject: OutputSubject) -> list[dict[str, str]]:
    write_table(path / "tiles.csv", subject)
    with (path / "tiles.csv").open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream, strict=True))


def test_write_table_keeps_every_value_of_a_tile(tmp_path: Path, subject: OutputSubject) -> None:
    written = _written(tmp_path, subject)
    assert len(written) == len(subject.rows)
    for values, row in zip(written, subject.rows, strict=True):
        assert (int(values["column"]), int(values["row"])) == (row.column, row.row)
        assert float(values["tissue_share"]) == row.tissue_share
        assert float(values["priority"]) == row.priority
        assert values["review"].split() == list(row.reasons)
        if row.probabilities:
            written_probabilities = [float(values[f"p_{i}"]) for i in subject.summary.labels]
            assert written_probabilities == list(row.probabilities)
            assert values["label"] == subject.manifest.label_ids[row.class_index or 0]
            assert float(values["distance"]) == row.distance


def test_write_table_places_a_tile_in_pixels_of_level_0_and_micrometres(
    tmp_path: Path, subject: OutputSubject
) -> None:
    for values, row in zip(_written(tmp_path, subject), subject.rows, strict=True):
        assert int(values["x_level0"]) == round(row.column * SIDE_LEVEL0)
        assert float(values["y_um"]) == pytest.approx(row.row * 1024, abs=MPP / 2 + 0.01)
        assert float(values["side_level0"]) == SIDE_LEVEL0


def test_write_table_leaves_fields_of_an_unreadable_tile_empty(
    tmp_path: Path, subject: OutputSubject
) -> None:
    (values,) = [values for values in _written(tmp_path, subject) if values["error"]]
    assert values["error"] == "The JPEG data ends in the middle."
    empty = ("label", "p_viable_tumor", "review", "distance", "excluded_by")
    assert {values[name] for name in empty} == {""}


def test_write_table_says_why_a_tile_is_left_out(tmp_path: Path, subject: OutputSubject) -> None:
    written = _written(tmp_path, subject)
    assert {values["excluded_by"] for values in written} == {"", "blank", "out_of_distribution"}


def test_write_table_says_in_each_row_that_it_is_preliminary(
    tmp_path: Path, subject: OutputSubject
) -> None:
    statuses = {values["status"] for values in _written(tmp_path, subject)}
    assert statuses == {"preliminary; research use only"}


def test_write_table_ends_lines_and_quotes_as_rfc_4180_says(
    tmp_path: Path, subject: OutputSubject
) -> None:
    row = replace(next(row for row in subject.rows if row.error), error='a "b", c')
    write_table(tmp_path / "tiles.csv", replace(subject, rows=[row]))
    header, line, rest = (tmp_path / "tiles.csv").read_bytes().split(b"\r\n")
    assert header.startswith(b"column,row,x_level0,y_level0,x_um,y_um,side_level0,tissue_share,")
    assert b',"a ""b"", c",' in line
    assert rest == b""


def test_write_table_keeps_columns_apart_from_labels_of_the_same_id(
    tmp_path: Path, subject: OutputSubject
) -> None:
    ids = ("row", "label", "distance")
    labels = tuple(Label(id=label_id, name=label_id, is_tumor=True) for label_id in ids)
    renamed = replace(subject, manifest=subject.manifest.model_copy(update={"labels": labels}))
    write_table(tmp_path / "tiles.csv", renamed)
    header = (tmp_path / "tiles.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
    assert len(set(header)) == len(header)
