"""The answer for a slide and for a specimen: `summary.json`, and what the API returns."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from app.inference.results import RESEARCH_USE, Answer, ModelIdentity, Probability
from app.slides.facts import SlideFacts

ConfusionMethod = Literal["slide_confusion", "patient_confusion", "site_confusion"]
IntervalMethod = Literal["block_bootstrap", ConfusionMethod]


class RatioInterval(Answer):
    """An interval of the necrosis ratio, and what it accounts for."""

    method: IntervalMethod = Field(
        description="`block_bootstrap`: which tiles the slide happens to have. `slide_confusion`, "
        "`patient_confusion`: also the errors that the model made on slides or patients it had not "
        "seen. `site_confusion`: those on the site's own tiles (`osteo-train calibrate`)."
    )
    level: float = Field(description="Nominal coverage, such as 0.95.")
    low: Probability
    high: Probability
    detail: str = Field(description="How it was computed, in a sentence.")


class Necrosis(Answer):
    """The share of dead tumour: non-viable over viable and non-viable, by area of tiles.

    Each tile counts as its most probable label. `ratio` is null if less tumour than `min_area_mm2`
    was found, or if the model lacks one of the two labels.
    """

    ratio: Probability | None
    n_viable: int = Field(description="Tiles counted as viable tumour.")
    n_non_viable: int = Field(description="Tiles counted as non-viable tumour.")
    n_non_tumor: int = Field(description="Tiles counted as other tissue.")
    tumor_area_mm2: float
    min_area_mm2: float = Field(description="Below this area of tumour there is no ratio.")
    intervals: list[RatioInterval]
    huvos_group: Literal["good", "poor", "undetermined"] = Field(
        description="`good` from 90 % necrosis, `poor` below, only if every interval lies on one "
        "side of 0.90."
    )
    reason: str | None = Field(
        default=None, description="Why there is no ratio, or why the group is undetermined."
    )
    bias: str | None = Field(
        default=None,
        description="What a completely dead slide would read with this model, by its measured "
        "errors; null if they were not measured.",
    )
    confusions: dict[ConfusionMethod, list[list[int]]] | None = Field(
        default=None,
        description="The measured errors behind the intervals: tiles by true kind of tissue (row) "
        "and answered kind (column), in the order other tissue, non-viable tumour, viable tumour. "
        "Null if the model lacks one of the two labels.",
    )


class TileCounts(Answer):
    """What became of the tiles of the grid."""

    n_grid: int = Field(description="Tiles of the grid, glass included.")
    n_tissue: int = Field(description="Tiles with enough tissue to be classified.")
    n_classified: int
    n_unreadable: int = Field(description="Tiles whose pixels are damaged.")
    n_review: int = Field(description="Classified tiles that a person should look at.")
    n_counted: int = Field(description="Classified tiles that count towards the ratio.")
    excluded: dict[str, int] = Field(
        description="Classified tiles that are left out: `blank`, `not_tissue` and "
        "`out_of_distribution`; the first reason of a tile counts."
    )
    excluded_share: dict[str, Probability] = Field(
        description="The same as shares of the classified tiles."
    )


class UnreadableTile(Answer):
    """A tile that could not be read."""

    column: int
    row: int
    reason: str


class SlideSummary(Answer):
    """The answer for one slide."""

    notice: str = Field(default=RESEARCH_USE)
    status: Literal["preliminary"] = "preliminary"
    complete: bool = Field(description="Whether every tissue tile was classified.")
    sha256: str = Field(description="SHA-256 of the file, or of a series' sorted SHA-256s.")
    slide: SlideFacts
    tile_side_um: float
    tile_side_level0: float
    columns: int
    rows: int
    tiles: TileCounts
    unreadable: list[UnreadableTile] = Field(description="The first 100.")
    warnings: list[str] = Field(
        default=[], description="Outputs that could not be written, and why."
    )
    necrosis: Necrosis
    labels: list[str] = Field(description="Label ids in the order of the probabilities.")
    model: ModelIdentity
    parameters: dict[str, float | int | str | None] = Field(
        description="Settings that the answer depends on."
    )


class SpecimenSummary(Answer):
    """The answer for all slides of a specimen."""

    notice: str = Field(default=RESEARCH_USE)
    status: Literal["preliminary"] = "preliminary"
    complete: bool
    slides: list[str] = Field(description="SHA-256 of each slide.")
    necrosis: Necrosis
    model: ModelIdentity
