"""`tiles.geojson`: tiles and merged regions for QuPath and other viewers.

A FeatureCollection in pixels of level 0 (not longitude and latitude, so not RFC 7946 in that
respect), as QuPath 0.4 and later read it when it is dropped on the opened slide. The fields are
those that its source reads (`qupath.lib.io` of 0.4 and 0.5: `PathObjectTypeAdapters` or
`QuPathTypeAdapters`, `ROITypeAdapters`, `GsonTools`):

- `id`: a UUID.
- `geometry`: `Polygon` or `MultiPolygon`, which must be valid for JTS; see `regions`. A tile at the
  right or lower edge may reach beyond the slide, as what the model saw did: areas add up to the
  counts.
- `properties.objectType`: `tile` or `annotation`; QuPath makes an annotation of other types.
- `properties.classification`: `name` and `color` `[r, g, b]`, both needed. A name has no colon (it
  would divide the name) and no line break. A name that ends in `*` is one that QuPath ignores in
  measurements and does not fill.
- `properties.measurements`: an object of finite numbers; anything else is an error in QuPath.
- `properties.metadata`: an object of strings; 0.4 takes it for annotations only. `isLocked`: a
  region cannot be moved by accident.

Further members of the collection, such as `notice`, are skipped by QuPath.
"""

from __future__ import annotations

import json
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from app.core.manifest import Label
from app.slides.outputs.colours import EXCLUDED, UNREADABLE, Rgb, label_colours
from app.slides.outputs.regions import merge_cells
from app.slides.outputs.subject import OutputSubject, distinct
from app.slides.tile_rows import TileRow

_NAMESPACE: Final = uuid.UUID("0a5ce4a4-6e0f-5d4e-9a57-7d4c2f3f6b11")
"""Namespace of the UUIDs below (version 5): the same tile, slide and model give the same UUID."""
_EXCLUDED: Final = "Excluded*"
_UNREADABLE: Final = "Unreadable*"

Feature = dict[str, Any]
_Class = tuple[str, Rgb]


def write_objects(path: Path, subject: OutputSubject) -> None:
    """Write the collection, a feature a line, regions first so that tiles lie above them.

    Raises:
        OSError: the file cannot be written.
    """
    summary = subject.summary
    head = {
        "type": "FeatureCollection",
        "notice": summary.notice,
        "status": summary.status,
        "complete": summary.complete,
        "units": "pixels of level 0",
        "slide_sha256": summary.sha256,
        "model": summary.model.model_dump(),
    }
    with path.open("w", encoding="utf-8", newline="\n") as stream:
        stream.write(json.dumps(head, allow_nan=False)[:-1] + ', "features": [')
        separator = "\n"
        # One at a time: 50,000 tiles are 30 MB of text.
        for feature in _features(subject):
            stream.write(separator + json.dumps(feature, allow_nan=False))
            separator = ",\n"
        stream.write("\n]}\n")


def _features(subject: OutputSubject) -> Iterator[Feature]:
    classes = _classes(subject)
    members: dict[_Class, list[TileRow]] = defaultdict(list)
    for row in subject.rows:
        members[_class_of(row, subject, classes)].append(row)
    for class_ in [*classes.values(), (_EXCLUDED, EXCLUDED), (_UNREADABLE, UNREADABLE)]:
        if members[class_]:
            yield _region(class_, members.pop(class_), subject)
    for row in subject.rows:
        yield _tile(row, classes, subject)


def _classes(subject: OutputSubject) -> dict[str, _Class]:
    labels = subject.manifest.labels
    names = distinct([_class_name(label) for label in labels], labels)
    colours = label_colours(labels)
    return {
        label.id: (name, colour) for label, name, colour in zip(labels, names, colours, strict=True)
    }


def _class_name(label: Label) -> str:
    """The label's name without what QuPath gives a meaning."""
    return " ".join(label.name.replace(":", " ").split()).rstrip("* ") or label.id


def _class_of(row: TileRow, subject: OutputSubject, classes: dict[str, _Class]) -> _Class:
    label = subject.label_of(row)
    if label is None:
        return _UNREADABLE, UNREADABLE
    return (_EXCLUDED, EXCLUDED) if row.excluded_by is not None else classes[label.id]


def _region(class_: _Class, rows: list[TileRow], subject: OutputSubject) -> Feature:
    grid, summary = subject.grid, subject.summary
    polygons = [
        [[_corner(point, subject) for point in ring] for ring in polygon]
        for polygon in merge_cells((row.column, row.row) for row in rows)
    ]
    model = summary.model
    properties = {
        "objectType": "annotation",
        "name": class_[0].rstrip("*"),
        "classification": _classification(class_),
        "isLocked": True,
        "measurements": {
            "Tiles": len(rows),
            "Tile area mm^2": round(len(rows) * grid.tile_area_mm2, 4),
        },
        "metadata": {
            "notice": summary.notice,
            "status": summary.status,
            "model": f"{model.name}, version {model.version}",
        },
    }
    geometry = {"type": "MultiPolygon", "coordinates": polygons}
    return _feature(f"region {class_[0]}", geometry, properties, subject)


def _tile(row: TileRow, classes: dict[str, _Class], subject: OutputSubject) -> Feature:
    class_ = _class_of(row, subject, classes)
    label = subject.label_of(row)
    corners = ((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))
    square = [_corner((row.column + dx, row.row + dy), subject) for dx, dy in corners]
    measurements: dict[str, float] = {"Tissue share": row.tissue_share}
    measurements |= {
        f"Probability: {name}": value
        for (name, _), value in zip(classes.values(), row.probabilities, strict=False)
    }
    measurements["Review priority"] = row.priority
    if row.distance is not None:
        measurements["Distance from training tiles"] = row.distance
    metadata = {"column": str(row.column), "row": str(row.row)}
    if label is not None:
        metadata["label"] = label.id
    if row.reasons:
        metadata["review"] = " ".join(row.reasons)
    if row.excluded_by is not None:
        metadata["excluded_by"] = row.excluded_by
    if row.error is not None:
        metadata["error"] = row.error
    properties = {
        "objectType": "tile",
        "classification": _classification(class_),
        "measurements": {name: round(value, 4) for name, value in measurements.items()},
        "metadata": metadata,
    }
    geometry = {"type": "Polygon", "coordinates": [square]}
    return _feature(f"tile {row.column} {row.row}", geometry, properties, subject)


def _feature(
    name: str, geometry: dict[str, Any], properties: dict[str, Any], subject: OutputSubject
) -> Feature:
    summary = subject.summary
    identity = f"{summary.sha256} {summary.model.bundle_sha256} {name}"
    return {
        "type": "Feature",
        "id": str(uuid.uuid5(_NAMESPACE, identity)),
        "geometry": geometry,
        "properties": properties,
    }


def _classification(class_: _Class) -> dict[str, Any]:
    return {"name": class_[0], "color": list(class_[1])}


def _corner(point: tuple[int, int], subject: OutputSubject) -> list[int]:
    return list(subject.grid.location_level0(*point))
