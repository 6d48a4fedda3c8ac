"""The directories of a TIFF are read as `tifffile` reads them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from app.core.formats import tiff_tags as t
from app.slides.reading.tiff_directories import DESCRIPTION, Directory, read_directories
from tests.slides.drawn_slides import Drawing, draw_slide

SMALL = Drawing(columns=1, rows=1)


def _read(path: Path) -> tuple[list[Directory], list[Directory]]:
    file = os.open(path, os.O_RDONLY)
    try:
        return read_directories(file)
    finally:
        os.close(file)


def _require_same(found: Directory, expected: Any) -> None:
    assert found.size == (expected.imagewidth, expected.imagelength)
    assert found.is_tiled == expected.is_tiled
    assert found.one(t.COMPRESSION, 1) == expected.compression
    assert found.one(t.PHOTOMETRIC) == expected.photometric
    assert found.one(t.SAMPLES_PER_PIXEL, 1) == expected.samplesperpixel
    assert found.bytes_of(t.JPEG_TABLES) == (expected.jpegtables or b"")
    assert found.bytes_of(DESCRIPTION).rstrip(b"\0").decode() == expected.description
    if expected.is_tiled:
        assert tuple(found.tags[t.TILE_OFFSETS]) == expected.dataoffsets
        assert tuple(found.tags[t.TILE_COUNTS]) == expected.databytecounts
        assert found.one(t.TILE_WIDTH) == expected.tilewidth
        assert found.one(t.TILE_HEIGHT) == expected.tilelength


@pytest.mark.parametrize("drawing", [SMALL, replace(SMALL, kind="svs"), replace(SMALL, kind="ome")])
def test_directories_of_slides_are_read(drawing: Drawing, tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "slide", drawing).path
    chain, below = _read(path)
    with tifffile.TiffFile(path) as file:
        first = file.pages.first
        for found, expected in zip(chain, file.pages, strict=True):
            _require_same(found, expected)
        for found, expected in zip(below, first.pages or (), strict=True):
            _require_same(found, expected)
    assert bool(below) == (drawing.kind == "ome")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("is_big", [False, True])
def test_both_orders_of_bytes_and_both_sizes_are_read(
    order: Any, is_big: bool, tmp_path: Path
) -> None:
    path = tmp_path / "slide.tif"
    pixels = np.zeros((100, 200, 3), np.uint8)
    options: dict[str, Any] = {"byteorder": order, "bigtiff": is_big, "photometric": "rgb"}
    tifffile.imwrite(path, pixels, tile=(16, 32), **options)
    ((found,), _) = _read(path)
    with tifffile.TiffFile(path) as file:
        _require_same(found, file.pages.first)
