"""How often the intervals of the ratio cover a known truth on drawn slides.

The tests look at 20 slides a setting. `docs/necrosis.md` states the shares over many more:

    python -m tests.slides.necrosis.interval_coverage 500
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import typer

from app.slides.necrosis.block_bootstrap import CountedTiles, bootstrap_ratio, draw_shares
from app.slides.necrosis.confusion_interval import confusion_interval
from tests.slides.necrosis.patchy_slides import PATIENT_V3, SLIDE_V3, TILE_AREA_MM2, patchy_slide

SLIDE_V4 = [[12, 1, 1], [1, 11, 1], [3, 0, 11]]
PATIENT_V4 = [[11, 2, 1], [1, 11, 1], [6, 1, 7]]
CONFUSIONS = {
    "slide, version 3": SLIDE_V3,
    "patient, version 3": PATIENT_V3,
    "slide, version 4": SLIDE_V4,
    "patient, version 4": PATIENT_V4,
}
RATIOS = (0.2, 0.5, 0.8, 0.9, 0.97)
_SMOOTHED = 0.3
"""Added to the cells of a confusion matrix, so that no answer is impossible."""
_LARGE, _SMALL = (29, 39), (14, 16)
_MIN_TUMOR_TILES = 20


@dataclass(frozen=True, slots=True)
class Coverage:
    """Share of slides whose interval holds the truth, and the interval's mean width."""

    share: float
    width: float


def bootstrap_coverage(
    n_slides: int, ratio: float, patch_tiles: float = 2.0, shape: tuple[int, int] = _LARGE
) -> Coverage:
    """Coverage of the block bootstrap, for the ratio of the tissue behind the slides."""
    found = []
    for seed in range(n_slides):
        slide = patchy_slide(np.random.default_rng([seed, 1]), ratio, patch_tiles, shape)
        tiles = CountedTiles(slide.columns, slide.rows, slide.kinds, TILE_AREA_MM2)
        if (slide.kinds > 0).sum() >= _MIN_TUMOR_TILES:
            interval = bootstrap_ratio([tiles.blocks()])
            found.append((interval.low, interval.high, ratio))
    return _coverage(found)


def specimen_coverage(n_specimens: int, ratio: float, patch_tiles: float = 2.0) -> Coverage:
    """Coverage of the block bootstrap over specimens of one large and several small slides."""
    found = []
    for seed in range(n_specimens):
        generator = np.random.default_rng([seed, 3])
        shapes = (_LARGE, *[_SMALL] * 5)
        slides = [patchy_slide(generator, ratio, patch_tiles, shape) for shape in shapes]
        tiles = [CountedTiles(one.columns, one.rows, one.kinds, TILE_AREA_MM2) for one in slides]
        interval = bootstrap_ratio([one.blocks() for one in tiles])
        found.append((interval.low, interval.high, ratio))
    return _coverage(found)


def confusion_coverage(
    n_slides: int, ratio: float, confusion: Sequence[Sequence[int]], patch_tiles: float = 2.0
) -> Coverage:
    """Coverage of the inverted confusion, for the ratio of the slide's own tiles.

    The answers to each slide come from a model with this confusion; the interval knows another
    sample of it, of as many tiles.
    """
    counts = np.array(confusion)
    true = (counts + _SMOOTHED) / (counts + _SMOOTHED).sum(axis=1, keepdims=True)
    found = []
    for seed in range(n_slides):
        generator = np.random.default_rng([seed, 2])
        slide = patchy_slide(generator, ratio, patch_tiles)
        answers = slide.answered(true, generator)
        tiles = CountedTiles(slide.columns, slide.rows, answers, TILE_AREA_MM2)
        measured = [
            generator.multinomial(number, row).tolist()
            for number, row in zip(counts.sum(axis=1), true, strict=True)
        ]
        low, high = confusion_interval(draw_shares([tiles.blocks()]), measured)
        found.append((low, high, slide.tiles_ratio))
    return _coverage(found)


def _coverage(found: Sequence[tuple[float, float, float]]) -> Coverage:
    low, high, truth = np.array(found).T
    # A slide without viable tumour has a ratio of 1, and its interval may end a rounding below.
    is_covered = (low <= truth + 1e-9) & (truth <= high + 1e-9)
    return Coverage(float(is_covered.mean()), float((high - low).mean()))


def main(n_slides: int) -> None:
    """Print the shares of all settings as Markdown."""
    typer.echo(f"| grid, patches | {' | '.join(f'R = {ratio:g}' for ratio in RATIOS)} |")
    for shape in (_LARGE, _SMALL):
        for patch_tiles in (0.5, 1.0, 2.0, 3.0):
            shown = [_shown(bootstrap_coverage(n_slides, r, patch_tiles, shape)) for r in RATIOS]
            name = f"{shape[1]} x {shape[0]} tiles, {patch_tiles:g}"
            typer.echo(f"| {name} | {' | '.join(shown)} |")
    shown = [_shown(specimen_coverage(n_slides, r)) for r in RATIOS]
    typer.echo(f"| specimen of 6 slides, 2 | {' | '.join(shown)} |")
    ratios = (*RATIOS[:-1], 1.0)
    typer.echo(f"| confusion | {' | '.join(f'R = {ratio:g}' for ratio in ratios)} |")
    for name, confusion in CONFUSIONS.items():
        shown = [_shown(confusion_coverage(n_slides, r, confusion)) for r in ratios]
        typer.echo(f"| {name} | {' | '.join(shown)} |")


def _shown(coverage: Coverage) -> str:
    return f"{coverage.share:.3f} ({coverage.width:.2f})"


if __name__ == "__main__":
    main(int(sys.argv[1]))
