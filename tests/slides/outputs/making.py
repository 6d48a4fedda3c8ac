"""A slide's answer for tests: rows, summary, manifest and overview that fit together."""

from __future__ import annotations

from collections import Counter
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.core.manifest import Manifest
from app.core.review import ReviewReason, review_priority
from app.inference.results import ModelIdentity
from app.slides.facts import LevelFacts, SlideFacts
from app.slides.outputs.subject import OutputSubject
from app.slides.results import (
    Necrosis,
    RatioInterval,
    SlideSummary,
    TileCounts,
    UnreadableTile,
)
from app.slides.tile_rows import TileRow
from tests.bundles import MODEL_NAME, manifest_of

CAM_SHAPE: Final = (7, 7)
SIDE_LEVEL0: Final = 1024 / 0.243
MPP: Final = 0.243
_NON_TUMOR, _NON_VIABLE, _VIABLE = range(3)


def make_manifest(tmp_path: Path) -> Manifest:
    """A manifest with the labels of the released models."""
    return manifest_of(tmp_path)


def make_rows(columns: int = 39, rows: int = 29, seed: int = 1) -> list[TileRow]:
    """Tiles of a piece of tissue: mostly dead tumour with islands of viable, other tissue outside.

    A few are blank, out of distribution, uncertain or unreadable.
    """
    return list(_made_rows(columns, rows, seed))


@cache
def _made_rows(columns: int, rows: int, seed: int) -> tuple[TileRow, ...]:
    rng = np.random.default_rng(seed)
    tumor = _smooth_noise(rng, columns, rows)
    viable = _smooth_noise(rng, columns, rows)
    made = []
    for row in range(rows):
        for column in range(columns):
            depth = _depth(column, row, columns, rows)
            if depth > 0:
                place = tumor[row, column] + 0.5 * depth - 0.45, viable[row, column]
                made.append(_make_row(column, row, depth, place, rng))
    return tuple(made)


def make_summary(rows: list[TileRow], columns: int = 39, n_rows: int = 29) -> SlideSummary:
    """The summary of such rows; its intervals are made up around the true ratio."""
    counted = Counter(row.class_index for row in rows if row.excluded_by is None)
    excluded = Counter(str(row.excluded_by) for row in rows if row.excluded_by is not None)
    unreadable = [
        UnreadableTile(column=row.column, row=row.row, reason=row.error)
        for row in rows
        if row.error is not None
    ]
    n_classified = len(rows) - len(unreadable)
    n_tumor = counted[_VIABLE] + counted[_NON_VIABLE]
    ratio = counted[_NON_VIABLE] / n_tumor if n_tumor else None
    return SlideSummary(
        complete=not unreadable,
        sha256="ab" * 32,
        slide=make_facts(columns, n_rows),
        tile_side_um=SIDE_LEVEL0 * MPP,
        tile_side_level0=SIDE_LEVEL0,
        columns=columns,
        rows=n_rows,
        tiles=TileCounts(
            n_grid=columns * n_rows,
            n_tissue=len(rows),
            n_classified=n_classified,
            n_unreadable=len(unreadable),
            n_review=sum(bool(row.reasons) for row in rows if row.error is None),
            n_counted=counted.total() - counted[None],
            excluded=dict(excluded),
            excluded_share={name: n / n_classified for name, n in excluded.items()},
        ),
        unreadable=unreadable,
        necrosis=_make_necrosis(counted, ratio),
        labels=["non_tumor", "non_viable_tumor", "viable_tumor"],
        model=ModelIdentity(name=MODEL_NAME, version="3", bundle_sha256="cd" * 32),
        parameters={"min_tissue_share": 0.1, "min_tumor_mm2": 20.0, "seed": 0, "mpp": None},
    )


def make_facts(columns: int, rows: int) -> SlideFacts:
    """A slide that is a little wider and lower than its grid."""
    width, height = round((columns + 0.3) * SIDE_LEVEL0), round((rows - 0.4) * SIDE_LEVEL0)
    return SlideFacts(
        format="aperio",
        n_bytes=812_345_678,
        width_px=width,
        height_px=height,
        mpp=MPP,
        mpp_source="file",
        objective_power=40.0,
        levels=[
            LevelFacts(width_px=round(width / by), height_px=round(height / by), downsample=by)
            for by in (1.0, 4.0, 16.0)
        ],
        reads="jpeg",
    )


def make_overview(rows: list[TileRow], summary: SlideSummary, max_px: int) -> NDArray[np.uint8]:
    """Draw the whole slide: tissue where there are tiles, glass elsewhere."""
    slide = summary.slide
    scale = max_px / max(slide.width_px, slide.height_px)
    size = round(slide.width_px * scale), round(slide.height_px * scale)
    tissue = np.zeros((summary.rows, summary.columns), np.uint8)
    colours = np.full((summary.rows, summary.columns, 3), 240, np.uint8)
    paints = [(222, 170, 200), (226, 182, 196), (150, 100, 165)]
    for row in rows:
        tissue[row.row, row.column] = 255
        colours[row.row, row.column] = paints[row.class_index or 0]
    side = summary.tile_side_level0 * scale
    grid = round(summary.columns * side), round(summary.rows * side)
    mask = Image.fromarray(tissue).resize(grid, Image.Resampling.BICUBIC)
    painted = Image.fromarray(colours).resize(grid, Image.Resampling.BICUBIC)
    rng = np.random.default_rng(5)
    noise = Image.fromarray(rng.integers(0, 256, (grid[1], grid[0]), np.uint8))
    texture = noise.filter(ImageFilter.GaussianBlur(2)).point(lambda level: (level - 128) * 2 + 128)
    shaded = Image.blend(painted, texture.convert("RGB"), 0.18)
    canvas = Image.new("RGB", size, (244, 243, 244))
    canvas.paste(shaded, (0, 0), mask.point(lambda level: 255 if level > 128 else 0))
    return np.asarray(canvas)


def make_subject(tmp_path: Path, columns: int = 39, rows: int = 29) -> OutputSubject:
    """Everything that outputs are written from, without the overview."""
    made = make_rows(columns, rows)
    summary = make_summary(made, columns, rows)
    return OutputSubject(summary, made, make_manifest(tmp_path), CAM_SHAPE)


def make_square(row: TileRow) -> NDArray[np.uint8]:
    """A drawn tile: eosin with nuclei."""
    return _draw_square(row.column, row.row)


@cache
def _draw_square(column: int, row: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng((column, row))
    pixels = np.full((224, 224, 3), (225, 170, 200), np.int16)
    y, x = np.mgrid[:224, :224]
    for at in rng.integers(0, 224, (70, 2)):
        pixels[(x - at[0]) ** 2 + (y - at[1]) ** 2 < rng.integers(9, 40)] = (100, 60, 140)
    pixels += rng.integers(-12, 12, pixels.shape, np.int16)
    return pixels.clip(0, 255).astype(np.uint8)


def _make_row(
    column: int, row: int, depth: float, place: tuple[float, float], rng: np.random.Generator
) -> TileRow:
    tumor, viable = place
    tissue = round(float(np.clip(depth * 4, 0.12, 1.0)), 4)
    draw = rng.random()
    if draw < 0.004:
        return TileRow(column, row, tissue, error="The JPEG data ends in the middle.")
    logits = np.array([-8 * tumor, 8 * tumor * (viable < 0.62), 8 * tumor * (viable >= 0.62)])
    logits = logits + rng.normal(0, 0.8, 3)
    exponentials = np.exp(logits - logits.max())
    probabilities = (exponentials / exponentials.sum()).astype(np.float32)
    distance = round(float(rng.beta(2, 9)), 4)
    reasons = []
    if probabilities.max() < 0.7:
        reasons.append(ReviewReason.LOW_PROBABILITY)
    if tissue < 0.16:
        reasons.append(ReviewReason.BLANK)
    if draw > 0.97:
        reasons.append(ReviewReason.OUT_OF_DISTRIBUTION)
    y, x = np.mgrid[-1:1:7j, -1:1:7j]
    centre = rng.uniform(-0.7, 0.7, 2)
    evidence = 9 * probabilities.max() * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2))
    return TileRow(
        column,
        row,
        tissue,
        tuple(float(value) for value in probabilities),
        tuple(reasons),
        review_priority(probabilities, reasons),
        distance,
        np.maximum(evidence - 2, 0).astype(np.float16).tobytes(),
    )


def _make_necrosis(counted: Counter[int | None], ratio: float | None) -> Necrosis:
    n_tumor = counted[_VIABLE] + counted[_NON_VIABLE]
    intervals = []
    if ratio is not None:
        intervals = [
            RatioInterval(
                method="block_bootstrap",
                level=0.95,
                low=max(0.0, ratio - 0.05),
                high=min(1.0, ratio + 0.04),
                detail="1,000 resamples of blocks of 8 x 8 tiles.",
            ),
            RatioInterval(
                method="slide_confusion",
                level=0.95,
                low=max(0.0, ratio - 0.09),
                high=min(1.0, ratio + 0.15),
                detail="The confusion of the split by slide, inverted, in 1,000 draws.",
            ),
            RatioInterval(
                method="patient_confusion",
                level=0.95,
                low=max(0.0, ratio - 0.3),
                high=1.0,
                detail="The confusion of the split by patient, inverted, in 1,000 draws.",
            ),
        ]
    return Necrosis(
        ratio=ratio,
        n_viable=counted[_VIABLE],
        n_non_viable=counted[_NON_VIABLE],
        n_non_tumor=counted[_NON_TUMOR],
        tumor_area_mm2=n_tumor * (SIDE_LEVEL0 * MPP / 1000) ** 2,
        min_area_mm2=20.0,
        intervals=intervals,
        huvos_group="undetermined",
        reason="The interval by patient reaches from below to above 0.90."
        if ratio is not None
        else "0.0 mm² of tumour were found, and a ratio needs at least 20.0 mm².",
        bias="With this model's errors, a completely dead slide with 30 % other tissue would read "
        "0.89, because other tissue is taken for viable tumour."
        if ratio is not None
        else None,
    )


def _depth(column: int, row: int, columns: int, rows: int) -> float:
    """How deep a tile lies in the tissue: above 0 inside of an ellipse with a bite."""
    x, y = (column + 0.5) / columns * 2 - 1, (row + 0.5) / rows * 2 - 1
    angle = np.arctan2(y, x)
    radius = 0.82 + 0.1 * np.sin(3 * angle + 1) + 0.05 * np.sin(7 * angle)
    return float(min(radius - np.hypot(x, y), np.hypot(x - 0.35, y + 0.3) - 0.16))


def _smooth_noise(rng: np.random.Generator, columns: int, rows: int) -> NDArray[np.float64]:
    coarse = rng.random((5, 6)).astype(np.float32)
    smooth = Image.fromarray(coarse).resize((columns, rows), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float64)
