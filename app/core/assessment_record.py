"""The part of a manifest that prediction sets, the input gate and drift are computed from.

`training.reliability` fits it on out-of-fold predictions; `app.inference.assessor` reads it.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator

from app.core.conformal import SetScore


def _require_ascending(values: Sequence[float]) -> Sequence[float]:
    if any(later < earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError("the numbers must be in ascending order")
    return values


Share = Annotated[float, Field(ge=0, le=1)]
Ascending = Annotated[tuple[float, ...], AfterValidator(_require_ascending)]
Range = Annotated[tuple[float, float], AfterValidator(_require_ascending)]


class _Part(BaseModel):
    # A limit of NaN or infinity would let every tile pass.
    # Fields with defaults are sent as well; the OpenAPI document says so.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        json_schema_serialization_defaults_required=True,
    )


class Conformal(_Part):
    """Calibration of the prediction sets; see `app.core.conformal`."""

    score: SetScore = Field(
        default="adaptive", description="Score of a label; `adaptive` in older bundles."
    )
    split: Literal["slide", "site", "patient", "random"] = Field(
        description="Calibration set: out-of-fold predictions of this split (by slide if slides "
        "are known), or a site's own tiles."
    )
    scores: Ascending = Field(description="Scores of the true labels, ascending.")


class InputGate(_Part):
    """Limits fitted on real tiles; see `app.core.appearance` and `app.core.reference_tiles`."""

    min_tissue_share: Share
    min_contrast: Annotated[float, Field(ge=0)]
    min_sharpness: Annotated[float, Field(ge=0)]
    min_stain_share: Share
    absorption: tuple[Range, Range, Range] = Field(
        description="Lowest and highest share of the absorbed light in red, green and blue."
    )
    max_distance: Annotated[float, Field(gt=0)] | None = Field(
        description="Largest distance from the training tiles; null if it was not measured."
    )


class Histogram(_Part):
    """Counts per bin; `edges` are the inner edges, so there is one more count than edges."""

    edges: Ascending
    counts: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _require_one_more_count_than_edges(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError(
                f"{len(self.edges)} edges need {len(self.edges) + 1} counts, not {len(self.counts)}"
            )
        return self


class DriftReference(_Part):
    """Distributions of out-of-fold predictions, the reference of the population stability index."""

    predictions: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Number of tiles by predicted label."
    )
    probability: Histogram = Field(description="Probabilities of the predicted label.")
    distance: Histogram | None = Field(
        description="Distances from the training tiles; null if they were not measured."
    )


class AssessmentRecord(_Part):
    """All parts, and the number of tiles they were fitted on."""

    n_tiles: PositiveInt
    conformal: Conformal
    gate: InputGate
    drift: DriftReference
