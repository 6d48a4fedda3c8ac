"""`overlay.png`: where on the slide the model found evidence for each tile's label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from app.core.appearance import find_tissue
from app.inference.colour_scale import colour_evidence
from app.slides.outputs.colours import label_colours
from app.slides.outputs.legend import LegendEntry, add_legend
from app.slides.outputs.overview_map import grid_cells
from app.slides.outputs.pictures import paled, reduced, write_png
from app.slides.outputs.subject import OutputSubject, shown_names
from app.slides.tile_rows import TileRow

_MAX_PX: Final = 1600
_OPACITY: Final = 0.85
"""Opacity of the layer at the top of the scale."""
_TOP_PERCENTILE: Final = 99.0
"""Evidence at this percentile of the slide's positive evidence is drawn at full strength. With
the maximum, one outlier would set the scale, and all other tiles would be faint."""
_MAX_VALUES: Final = 10**6
_STRIP_ROWS: Final = 128
"""Rows of pixels in which glass is looked for at once: the densities of a whole overview would take
12 bytes a pixel."""


def write_overlay(path: Path, overview: NDArray[np.uint8], subject: OutputSubject) -> None:
    """Write the evidence of all tiles over a pale grey picture of the slide, with a legend.

    Each tile shows the evidence for its own label, in the label's colour. One scale holds for the
    whole slide: contributions to the logit, from 0 to the 99th percentile of what is positive.
    Tiles that are left out of the counts, and glass, show nothing.

    Args:
        path: the file.
        overview: uint8 `[h, w, 3]`, RGB, the whole of level 0.
        subject: what is drawn.

    Raises:
        OSError: the file cannot be written.
    """
    small = reduced(overview, _MAX_PX)
    evidence, classes, top = _evidence_grid(subject)
    drawn = _compose(small, evidence, classes, subject)
    labels = subject.manifest.labels
    entries = [
        LegendEntry(name if name.isascii() else label.id, colour)
        for label, name, colour in zip(
            labels, shown_names(labels), label_colours(labels), strict=True
        )
    ]
    model = subject.summary.model
    caption = (
        f"Evidence for the label of each tile. Full colour: {top:.2g} or more of the logit, the "
        "99th percentile of the slide.",
        f"{model.name}, version {model.version}. {subject.summary.status.capitalize()}. "
        f"{subject.summary.notice}",
    )
    write_png(path, add_legend(drawn, entries, _OPACITY, caption), " ".join(caption), subject)


def _evidence_grid(
    subject: OutputSubject,
) -> tuple[NDArray[np.uint8], NDArray[np.int16], float]:
    """Evidence of all tiles on one scale, the class of each tile (-1: none), and the scale's top.

    Returns:
        uint8 `[rows * h, columns * w]`, int16 `[rows, columns]`, and a contribution to the logit.
    """
    grid, (height, width) = subject.grid, subject.cam_shape
    levels = np.zeros((grid.rows * height, grid.columns * width), np.uint8)
    classes = np.full((grid.rows, grid.columns), -1, np.int16)
    scale = _top_of_scale(subject)
    for row, cam in _drawn_maps(subject):
        top, left = row.row * height, row.column * width
        relative = np.minimum(cam.astype(np.float32) / scale, 1)
        levels[top : top + height, left : left + width] = np.rint(255 * relative)
        classes[row.row, row.column] = -1 if row.class_index is None else row.class_index
    return levels, classes, scale


def _top_of_scale(subject: OutputSubject) -> float:
    cells = [cam[cam > 0] for _, cam in _drawn_maps(subject)]
    positive = np.concatenate([*cells, np.zeros(0, np.float16)])
    # A million values say the percentile to four digits, and 50,000 tiles have ten million.
    positive = positive[:: 1 + len(positive) // _MAX_VALUES].astype(np.float32)
    return float(np.percentile(positive, _TOP_PERCENTILE)) if len(positive) else 1.0


def _drawn_maps(subject: OutputSubject) -> Iterator[tuple[TileRow, NDArray[np.float16]]]:
    """The tiles that count, with their evidence."""
    for row in subject.rows:
        cam = row.evidence_map(subject.cam_shape)
        if cam is not None and subject.counts_as(row) is not None:
            yield row, cam


def _compose(
    overview: Image.Image,
    evidence: NDArray[np.uint8],
    classes: NDArray[np.int16],
    subject: OutputSubject,
) -> Image.Image:
    spread = _over_slide(evidence, overview.size, subject)
    _, alpha = colour_evidence(spread, _OPACITY, _tissue(overview))
    # The last colour is for what has no class: the last row and column, and index -1.
    opaque = [(*colour, 255) for colour in label_colours(subject.manifest.labels)]
    palette = np.array([*opaque, (0, 0, 0, 0)], np.uint8)
    layers = palette[np.pad(classes, ((0, 1), (0, 1)), constant_values=-1)]
    columns, rows = grid_cells(overview.size, subject)
    at_rows, at_columns = (
        np.minimum(at, n) for at, n in zip((rows, columns), classes.shape, strict=True)
    )
    layer = Image.fromarray(layers.take(at_rows, axis=0).take(at_columns, axis=1))
    alpha = ImageChops.multiply(alpha, layer.getchannel("A"))
    return Image.composite(layer.convert("RGB"), paled(overview), alpha)


def _over_slide(
    evidence: NDArray[np.uint8], size: tuple[int, int], subject: OutputSubject
) -> Image.Image:
    """The evidence at the size of the overview, which may show more or less than the grid."""
    slide, side = subject.summary.slide, subject.grid.side_level0
    height, width = subject.cam_shape
    box = slide.width_px / side * width, slide.height_px / side * height
    # Beyond the grid, and a cell further because the box must lie inside of the picture.
    more = [max(0, int(end) + 1 - n) for end, n in zip(box, evidence.shape[::-1], strict=True)]
    padded = Image.fromarray(np.pad(evidence, ((0, more[1]), (0, more[0]))))
    return padded.resize(size, Image.Resampling.BILINEAR, box=(0, 0, *box))


def _tissue(overview: Image.Image) -> Image.Image:
    """Mode L, 255 for tissue and 0 for glass."""
    pixels = np.asarray(overview)
    strips = [
        find_tissue(pixels[top : top + _STRIP_ROWS]) for top in range(0, len(pixels), _STRIP_ROWS)
    ]
    return Image.fromarray(np.uint8(255) * np.concatenate(strips))
