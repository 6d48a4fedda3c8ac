"""Slides of drawn tissue in patches, as rows of tiles, with a ratio that is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import Label, Manifest, SplitMetrics
from app.slides.necrosis.viability import Kind
from app.slides.tile_rows import TileRow
from tests.bundles import LABELS, manifest_of
from tests.conftest import REPOSITORY

SLIDE_V3 = [[9, 1, 4], [1, 12, 0], [0, 0, 14]]
"""Tiles by true and by answered label that version 3 of the released model was measured on."""
PATIENT_V3 = [[9, 2, 3], [1, 12, 0], [11, 0, 3]]
TILE_AREA_MM2 = 1.024**2


@dataclass(frozen=True, slots=True)
class PatchySlide:
    """The tissue tiles of a slide.

    Attributes:
        columns, rows: int64 `[n]`, places in the grid.
        kinds: int64 `[n]`, the true `Kind` of each tile.
        ratio: of the tissue that the slide was cut from.
    """

    columns: NDArray[np.int64]
    rows: NDArray[np.int64]
    kinds: NDArray[np.int64]
    ratio: float

    @property
    def tiles_ratio(self) -> float:
        """The ratio of the slide's own tiles."""
        n_dead, n_alive = (int((self.kinds == kind).sum()) for kind in (1, 2))
        return n_dead / (n_dead + n_alive)

    def answered(
        self, confusion: NDArray[np.float64], generator: np.random.Generator
    ) -> NDArray[np.int64]:
        """Answers of a model with this probability of each answer by true kind, `[3, 3]`."""
        cumulated = confusion.cumsum(axis=1)[self.kinds]
        drawn = generator.random((len(self.kinds), 1))
        answers: NDArray[np.int64] = (drawn > cumulated).sum(axis=1).clip(0, 2)
        return answers


def patchy_slide(
    generator: np.random.Generator,
    ratio: float,
    patch_tiles: float = 2.0,
    shape: tuple[int, int] = (29, 39),
) -> PatchySlide:
    """Draw a slide whose tissue, tumour and dead tumour are each smooth fields above a threshold.

    Args:
        generator: of random numbers.
        ratio: share of the tumour that is dead, in (0, 1], in tissue without end.
        patch_tiles: standard deviation of the smoothing; patches are about five times as wide at
            half of the tissue.
        shape: rows and columns of the grid.
    """
    tissue = _field(generator, 5.0, shape)
    is_tissue = tissue > np.quantile(tissue, 0.45)
    is_tumor = _field(generator, patch_tiles, shape) < NormalDist().inv_cdf(0.7)
    limit = NormalDist().inv_cdf(ratio) if ratio < 1 else np.inf
    is_dead = _field(generator, patch_tiles, shape) < limit
    kinds = np.where(is_tumor, np.where(is_dead, Kind.NON_VIABLE, Kind.VIABLE), Kind.OTHER)
    rows, columns = np.nonzero(is_tissue)
    return PatchySlide(columns, rows, kinds[is_tissue].astype(np.int64), ratio)


def tile_rows(
    columns: Sequence[int] | NDArray[np.int64],
    rows: Sequence[int] | NDArray[np.int64],
    labels: Sequence[int] | NDArray[np.int64],
    reasons: Sequence[str] = (),
) -> list[TileRow]:
    """Rows of tiles whose most probable labels are these, in the order of `LABELS`."""
    probabilities = [tuple(0.8 if i == j else 0.1 for j in range(3)) for i in range(3)]
    return [
        TileRow(int(column), int(row), 1.0, probabilities[int(label)], tuple(reasons))
        for column, row, label in zip(columns, rows, labels, strict=True)
    ]


def rows_of(slide: PatchySlide, answers: NDArray[np.int64] | None = None) -> list[TileRow]:
    """The rows of a slide with the true labels, or with these answers."""
    return tile_rows(slide.columns, slide.rows, slide.kinds if answers is None else answers)


def square_of(*labels: int, n_columns: int = 10) -> list[TileRow]:
    """Rows of tiles, row by row of a grid with this number of columns."""
    places = range(len(labels))
    return tile_rows([i % n_columns for i in places], [i // n_columns for i in places], labels)


def manifest_with(
    slide: Sequence[Sequence[int]] | None = SLIDE_V3,
    patient: Sequence[Sequence[int]] | None = PATIENT_V3,
    labels: Sequence[Label] = LABELS,
) -> Manifest:
    """A manifest whose splits were measured with these confusions; None leaves a split out."""
    metrics = [
        _measured(split, confusion)
        for split, confusion in (("slide", slide), ("patient", patient))
        if confusion is not None
    ]
    manifest = manifest_of(REPOSITORY / "tests" / "slides" / "no such bundle")
    return manifest.model_copy(update={"labels": tuple(labels), "metrics": tuple(metrics)})


def _measured(split: str, confusion: Sequence[Sequence[int]]) -> SplitMetrics:
    counts = np.array(confusion)
    share = float(np.trace(counts) / counts.sum())
    unmeasured = dict.fromkeys(("tumor_precision", "tumor_recall"))
    return SplitMetrics(
        split=split,
        split_sha256="0" * 64,
        n_folds=5,
        n_tiles=int(counts.sum()),
        **dict.fromkeys(("accuracy", "accuracy_low", "accuracy_high", "macro_f1", "ece"), share),
        **unmeasured,
        log_loss=0.5,
        classes=(),
        folds=(),
        confusion=tuple(map(tuple, counts.tolist())),
    )


def _field(
    generator: np.random.Generator, patch_tiles: float, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """White noise smoothed by a Gaussian, of unit variance, float64 of `shape`."""
    # The noise is cyclic, so a margin keeps opposite edges of the slide apart.
    margin = int(6 * patch_tiles)
    height, width = shape[0] + margin, shape[1] + margin
    noise = np.fft.rfft2(generator.standard_normal((height, width)))
    frequencies = np.fft.fftfreq(height)[:, None] ** 2 + np.fft.rfftfreq(width)[None] ** 2
    smooth = np.fft.irfft2(
        noise * np.exp(-2 * (np.pi * patch_tiles) ** 2 * frequencies), s=(height, width)
    )
    deviation = 1 / (2 * patch_tiles * np.sqrt(np.pi))
    field: NDArray[np.float64] = smooth[: shape[0], : shape[1]] / deviation
    return field
