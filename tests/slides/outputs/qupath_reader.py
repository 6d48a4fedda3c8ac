"""Reads objects as QuPath does, and fails where QuPath fails or would silently do something else.

After `qupath.lib.io` of QuPath 0.4 to 0.6: `PathIO.readObjectsFromGeoJSON`, `QuPathTypeAdapters`
(`PathObjectTypeAdapter`, `MeasurementListTypeAdapter`), `GsonTools.PathClassTypeAdapter`,
`ROITypeAdapters.parseGeometry`; and after `PathClass.fromString`, which divides names at colons.
"""

from __future__ import annotations

import json
import math
import uuid
from dataclasses import dataclass
from typing import Any

TYPES = ("tile", "annotation", "detection", "cell", "tmaCore", "root")
PROPERTIES = {
    *("objectType", "name", "color", "classification", "isLocked", "measurements", "metadata"),
}
"""Properties that QuPath reads and these objects may have; it drops all others."""

Ring = list[tuple[float, float]]


@dataclass(frozen=True)
class PathObject:
    """What QuPath makes of a feature."""

    id: uuid.UUID
    type: str
    class_name: str
    colour: tuple[int, int, int]
    name: str | None
    is_locked: bool
    polygons: list[list[Ring]]
    measurements: dict[str, float]
    metadata: dict[str, str]


def read_objects(text: str) -> list[PathObject]:
    """Read a collection."""
    document = json.loads(text, parse_constant=_refuse_constant)
    assert document["type"] == "FeatureCollection", "QuPath skips other elements silently"
    assert isinstance(document["features"], list)
    return [_read_object(feature) for feature in document["features"]]


def _read_object(feature: dict[str, Any]) -> PathObject:
    assert set(feature) == {"type", "id", "geometry", "properties"}
    assert feature["type"] == "Feature"
    properties = feature["properties"]
    assert set(properties) <= PROPERTIES, "QuPath would drop the rest"
    assert properties["objectType"] in TYPES, "QuPath would make an annotation of it"
    classification = properties["classification"]
    measurements = properties.get("measurements", {})
    # `Map<String, Double>`: Gson makes a double of each number, and QuPath fails on others.
    assert all(_is_number(value) and math.isfinite(value) for value in measurements.values())
    metadata = properties.get("metadata", {})
    assert all(isinstance(value, str) for value in metadata.values())
    is_locked = properties.get("isLocked", False)
    assert isinstance(is_locked, bool)
    return PathObject(
        uuid.UUID(feature["id"]),  # QuPath gives another id to what it cannot parse
        properties["objectType"],
        *_read_class(classification),
        properties.get("name"),
        is_locked,
        _read_geometry(feature["geometry"]),
        measurements,
        metadata,
    )


def _read_class(classification: dict[str, Any]) -> tuple[str, tuple[int, int, int]]:
    assert set(classification) == {"name", "color"}, "without both, QuPath fails"
    name, colour = classification["name"], classification["color"]
    assert isinstance(name, str)
    assert name
    assert name == name.strip()
    assert not set(name) & {":", "\n", "\r"}, "QuPath would divide the name, or refuse it"
    assert len(colour) == 3
    assert all(isinstance(level, int) and 0 <= level <= 255 for level in colour)
    return name, tuple(colour)


def _read_geometry(geometry: dict[str, Any]) -> list[list[Ring]]:
    assert set(geometry) == {"type", "coordinates"}
    assert geometry["type"] in {"Polygon", "MultiPolygon"}
    coordinates = geometry["coordinates"]
    polygons = [coordinates] if geometry["type"] == "Polygon" else coordinates
    assert polygons
    return [[_read_ring(ring) for ring in polygon] for polygon in polygons]


def _read_ring(ring: list[list[float]]) -> Ring:
    """JTS: a ring is closed and has at least four points."""
    points = [(point[0], point[1]) for point in ring if len(point) == 2]
    assert len(points) == len(ring) >= 4
    assert points[0] == points[-1]
    assert all(_is_number(value) for point in points for value in point)
    return points


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _refuse_constant(name: str) -> float:
    raise AssertionError(f"{name} is no JSON")
