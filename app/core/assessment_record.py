"""What a bundle knows of its own limits: the manifest's part behind reviews and prediction sets.

Fitted by `training.reliability` on answers to slides the model did not see, read by
`app.inference.assessor`.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PositiveInt, model_validator


def _require_ascending(values: Sequence[float]) -> Sequence[float]:
    if any(later < earlier for earlier, later in itertools.pairwise(values)):
        raise ValueError("the numbers must ascend")
    return values


Share = Annotated[float, Field(ge=0, le=1)]
Ascending = Annotated[tuple[float, ...], AfterValidator(_require_ascending)]
Range = Annotated[tuple[float, float], AfterValidator(_require_ascending)]


class _Part(BaseModel):
    # A limit that is no number would let everything through.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Conformal(_Part):
    """Calibration of the prediction sets; see `app.core.conformal`."""

    split: Literal["slide", "site"] = Field(
        description="Whose answers: out of fold by slide, or a site's own tiles."
    )
    scores: Ascending = Field(description="Adaptive scores of the true labels, ascending.")


class InputGate(_Part):
    """Limits that real tiles keep; see `app.core.appearance` and `app.core.reference_tiles`."""

    min_tissue_share: Share
    min_contrast: Annotated[float, Field(ge=0)]
    min_sharpness: Annotated[float, Field(ge=0)]
    min_stain_share: Share
    absorption: tuple[Range, Range, Range] = Field(
        description="Lowest and highest share of the absorbed light in red, green and blue."
    )
    max_distance: Annotated[float, Field(gt=0)] | None = Field(
        description="From the training tiles; null where distances were not measured."
    )


class Histogram(_Part):
    """Counts between edges: `len(counts) == len(edges) + 1`."""

    edges: Ascending
    counts: tuple[Annotated[int, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _every_bin_is_counted(self) -> Self:
        if len(self.counts) != len(self.edges) + 1:
            raise ValueError("there must be one count more than edges")
        return self


class DriftReference(_Part):
    """What answers looked like out of fold, for the population stability index."""

    predictions: dict[str, Annotated[int, Field(ge=0)]] = Field(
        description="Tiles by predicted label."
    )
    probability: Histogram = Field(description="Of the predicted label.")
    distance: Histogram | None = Field(
        description="From the training tiles; null where it was not measured."
    )


class AssessmentRecord(_Part):
    """All of it, and on how many tiles it stands."""

    n_tiles: PositiveInt
    conformal: Conformal
    gate: InputGate
    drift: DriftReference
