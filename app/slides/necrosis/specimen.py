"""The ratio of dead tumour over all slides of a specimen, which decides about the response."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import SpecimenError
from app.slides.necrosis.ratio import counted_tiles, necrosis_of_slides
from app.slides.necrosis.viability import NON_VIABLE_ID, VIABLE_ID, Kind
from app.slides.results import Necrosis, SlideSummary, SpecimenSummary
from app.slides.tile_rows import TileRow

_UM_PER_MM: Final = 1000


def specimen_of(
    slides: Sequence[tuple[SlideSummary, Sequence[TileRow]]], n_missing: int = 0
) -> SpecimenSummary:
    """Sum the slides of a specimen, each tile by its area.

    Args:
        slides: the summary and the tiles of each slide, in any order.
        n_missing: further slides that could not be classified.

    Raises:
        SpecimenError: there is no slide, a slide comes twice, or other models classified them.
    """
    if not slides:
        raise SpecimenError("no slide was named.")
    slides = sorted(slides, key=lambda slide: slide[0].sha256)  # the order must not matter
    summaries = [summary for summary, _ in slides]
    _require_different_slides(summaries)
    _require_one_model(summaries)
    return SpecimenSummary(
        complete=n_missing == 0 and all(summary.complete for summary in summaries),
        slides=[summary.sha256 for summary in summaries],
        necrosis=_necrosis(slides),
        model=summaries[0].model,
    )


def _require_different_slides(summaries: Sequence[SlideSummary]) -> None:
    for one, other in itertools.pairwise(summaries):
        if one.sha256 == other.sha256:
            raise SpecimenError(
                f"the slide {one.sha256[:12]} was named twice, and would count twice."
            )


def _require_one_model(summaries: Sequence[SlideSummary]) -> None:
    first = summaries[0].model
    for summary in summaries:
        model = summary.model
        if model != first:
            raise SpecimenError(
                f"{first.name} {first.version} ({first.bundle_sha256[:12]}) classified the slide "
                f"{summaries[0].sha256[:12]}, but {model.name} {model.version} "
                f"({model.bundle_sha256[:12]}) the slide {summary.sha256[:12]}. Classify them all "
                "with one."
            )


def _necrosis(slides: Sequence[tuple[SlideSummary, Sequence[TileRow]]]) -> Necrosis:
    summaries = [summary for summary, _ in slides]
    min_tumor_mm2 = max(summary.necrosis.min_area_mm2 for summary in summaries)
    first = summaries[0].necrosis
    if first.confusions is None:
        return first.model_copy(
            update={
                "n_non_tumor": sum(summary.necrosis.n_non_tumor for summary in summaries),
                "tumor_area_mm2": sum(summary.necrosis.tumor_area_mm2 for summary in summaries),
                "min_area_mm2": min_tumor_mm2,
            }
        )
    kinds = _kinds(summaries[0].labels)
    tiles = [
        counted_tiles(rows, kinds, (summary.tile_side_um / _UM_PER_MM) ** 2)
        for summary, rows in slides
    ]
    return necrosis_of_slides(tiles, first.confusions, min_tumor_mm2)


def _kinds(labels: Sequence[str]) -> NDArray[np.int64]:
    """Kinds of the labels of a model whose tumour labels are exactly the two of the ratio."""
    known = {NON_VIABLE_ID: Kind.NON_VIABLE, VIABLE_ID: Kind.VIABLE}
    return np.array([known.get(label, Kind.OTHER) for label in labels], dtype=np.int64)
