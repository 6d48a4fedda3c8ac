"""`heatmap.png` and `heatmap.json`: the class of each tile as a layer for viewers of the slide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from app.slides.outputs.colours import (
    EXCLUDED,
    MIN_OPACITY,
    UNREADABLE,
    hexadecimal,
    label_colours,
)
from app.slides.outputs.painting import paint_tiles
from app.slides.outputs.pictures import write_png
from app.slides.outputs.subject import OutputSubject

TILE_PX: Final = 8
"""Side of a tile on the heat map."""


def write_heat_map(path: Path, subject: OutputSubject) -> None:
    """Write the heat map: RGBA, `TILE_PX` pixels a tile, transparent where there is no tissue.

    Raises:
        OSError: the file cannot be written.
    """
    grid = subject.grid
    columns, rows = (np.repeat(np.arange(n), TILE_PX) for n in (grid.columns, grid.rows))
    picture = Image.fromarray(paint_tiles(subject).at(columns, rows, TILE_PX))
    what = "Most probable label of each tile; heatmap.json says where it lies and what it means."
    write_png(path, picture, what, subject)


def write_heat_map_facts(path: Path, subject: OutputSubject) -> None:
    """Write where the heat map lies on the slide, and what its colours mean.

    `affine` is a matrix `[[a, b, c], [d, e, f]]`: the corner (u, v) of heat-map pixels lies at
    x = a u + b v + c, y = d u + e v + f in pixels of level 0.

    Raises:
        OSError: the file cannot be written.
    """
    grid, summary = subject.grid, subject.summary
    labels = subject.manifest.labels
    scale = grid.side_level0 / TILE_PX
    document: dict[str, Any] = {
        "notice": summary.notice,
        "status": summary.status,
        "complete": summary.complete,
        "slide_sha256": summary.sha256,
        "model": summary.model.model_dump(),
        "width_px": grid.columns * TILE_PX,
        "height_px": grid.rows * TILE_PX,
        "tile_px": TILE_PX,
        "affine": [[scale, 0.0, 0.0], [0.0, scale, 0.0]],
        "affine_from": "corners of heat-map pixels",
        "affine_to": "pixels of level 0",
        "labels": [
            {"id": label.id, "name": label.name, "colour": hexadecimal(colour)}
            for label, colour in zip(labels, label_colours(labels), strict=True)
        ],
        "opacity": {
            "at_chance": MIN_OPACITY,
            "at_certainty": 1.0,
            "of": "the probability of the tile's label, linear from 1 / number of labels to 1",
        },
        "excluded": {"colour": hexadecimal(EXCLUDED), "pattern": "hatched"},
        "unreadable": {"colour": hexadecimal(UNREADABLE), "pattern": "crossed"},
    }
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")
