from __future__ import annotations

import json
import uuid
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from app.core.manifest import Label
from app.slides.outputs.objects import write_objects
from app.slides.outputs.subject import OutputSubject
from app.slides.tile_rows import TileRow
from tests.slides.outputs.making import make_rows, make_subject
from tests.slides.outputs.qupath_reader import PathObject, Ring, read_objects


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    return make_subject(tmp_path)


def _written(path: Path, subject: OutputSubject) -> list[PathObject]:
    write_objects(path / "tiles.geojson", subject)
    return read_objects((path / "tiles.geojson").read_text(encoding="utf-8"))


def _area(polygons: list[list[Ring]]) -> float:
    rings = (ring for polygon in polygons for ring in polygon)
    return sum(x1 * y2 - x2 * y1 for ring in rings for (x1, y1), (x2, y2) in pairwise(ring)) / 2


def test_write_objects_makes_a_tile_of_each_row_in_pixels_of_level_0(
    tmp_path: Path, subject: OutputSubject
) -> None:
    tiles = [one for one in _written(tmp_path, subject) if one.type == "tile"]
    assert len(tiles) == len(subject.rows)
    for tile, row in zip(tiles, subject.rows, strict=True):
        ((square,),) = tile.polygons
        left, top = subject.grid.location_level0(row.column, row.row)
        right, bottom = subject.grid.location_level0(row.column + 1, row.row + 1)
        assert square == [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
        assert tile.metadata["column"] == str(row.column)
        assert tile.measurements["Tissue share"] == pytest.approx(row.tissue_share, abs=1e-4)


def test_write_objects_says_class_probabilities_and_review_of_a_tile(
    tmp_path: Path, subject: OutputSubject
) -> None:
    row = next(row for row in subject.rows if row.excluded_by is None and row.reasons)
    tiles = {
        (t.metadata.get("column"), t.metadata.get("row")): t for t in _written(tmp_path, subject)
    }
    tile = tiles[str(row.column), str(row.row)]
    label = subject.label_of(row)
    assert label is not None
    assert tile.class_name == label.name
    assert tile.measurements[f"Probability: {label.name}"] == round(max(row.probabilities), 4)
    assert tile.metadata["review"] == " ".join(row.reasons)
    assert tile.measurements["Distance from training tiles"] == row.distance


def test_write_objects_merges_counted_tiles_into_a_region_of_each_class(
    tmp_path: Path, subject: OutputSubject
) -> None:
    regions = {r.class_name: r for r in _written(tmp_path, subject) if r.type == "annotation"}
    counts = Counter(label.name for row in subject.rows if (label := subject.counts_as(row)))
    excluded = sum(row.excluded_by is not None for row in subject.rows)
    unreadable = sum(row.error is not None for row in subject.rows)
    assert min(excluded, unreadable, *counts.values()) > 0
    expected = {**counts, "Excluded*": excluded, "Unreadable*": unreadable}
    assert {name: region.measurements["Tiles"] for name, region in regions.items()} == expected
    for name, region in regions.items():
        area = _area(region.polygons) / subject.grid.side_level0**2
        assert area == pytest.approx(expected[name], rel=1e-3)
        assert region.is_locked
        assert "Research use only" in region.metadata["notice"]


def test_write_objects_gives_each_class_one_colour(tmp_path: Path, subject: OutputSubject) -> None:
    colours = {(one.class_name, one.colour) for one in _written(tmp_path, subject)}
    assert len({colour for _, colour in colours}) == len(colours) == 5


def test_write_objects_gives_ids_that_differ_and_stay(
    tmp_path: Path, subject: OutputSubject
) -> None:
    first, second = _written(tmp_path, subject), _written(tmp_path, subject)
    assert len({one.id for one in first}) == len(first)
    assert [one.id for one in first] == [one.id for one in second]
    assert {one.id.version for one in first} == {5}
    other = replace(subject, summary=subject.summary.model_copy(update={"sha256": "0" * 64}))
    assert not {one.id for one in first} & {one.id for one in _written(tmp_path, other)}


def test_write_objects_says_on_the_collection_that_it_is_preliminary(
    tmp_path: Path, subject: OutputSubject
) -> None:
    write_objects(tmp_path / "tiles.geojson", subject)
    document = json.loads((tmp_path / "tiles.geojson").read_text(encoding="utf-8"))
    assert document["status"] == "preliminary"
    assert document["notice"].startswith("Research use only")
    assert document["slide_sha256"] == subject.summary.sha256
    assert document["model"]["bundle_sha256"] == subject.summary.model.bundle_sha256


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Tumor: viable", "Tumor viable"),
        ("two\nlines", "two lines"),
        ("ignored*", "ignored"),
        ("  ", "viable_tumor"),
        ("*", "viable_tumor"),
        ('quoted "name" äß', 'quoted "name" äß'),
    ],
)
def test_write_objects_names_a_class_so_that_qupath_takes_it_whole(
    tmp_path: Path, subject: OutputSubject, name: str, shown: str
) -> None:
    labels = (*subject.manifest.labels[:2], Label(id="viable_tumor", name=name, is_tumor=True))
    renamed = replace(subject, manifest=subject.manifest.model_copy(update={"labels": labels}))
    assert shown in {one.class_name for one in _written(tmp_path, renamed)}


def test_write_objects_uses_ids_when_names_are_not_unique(
    tmp_path: Path, subject: OutputSubject
) -> None:
    labels = tuple(label.model_copy(update={"name": "Tissue"}) for label in subject.manifest.labels)
    renamed = replace(subject, manifest=subject.manifest.model_copy(update={"labels": labels}))
    objects = _written(tmp_path, renamed)
    assert {label.id for label in labels} <= {one.class_name for one in objects}
    row = next(row for row in subject.rows if row.probabilities)
    tile = next(one for one in objects if one.metadata.get("column") == str(row.column))
    assert len([name for name in tile.measurements if name.startswith("Probability")]) == 3


def test_write_objects_of_a_slide_without_tissue_is_an_empty_collection(
    tmp_path: Path, subject: OutputSubject
) -> None:
    assert _written(tmp_path, replace(subject, rows=[])) == []


def test_write_objects_leaves_out_a_distance_that_was_not_measured(
    tmp_path: Path, subject: OutputSubject
) -> None:
    row = next(row for row in make_rows() if row.probabilities)
    plain = TileRow(row.column, row.row, row.tissue_share, row.probabilities, distance=None)
    tile = _written(tmp_path, replace(subject, rows=[plain]))[-1]
    assert "Distance from training tiles" not in tile.measurements
    assert isinstance(tile.id, uuid.UUID)
