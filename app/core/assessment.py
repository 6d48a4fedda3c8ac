"""What a bundle knows of its own limits: the manifest's part behind reviews and prediction sets.

Fitted by `training.trust` on answers to slides the model did not see, read by `app.assess`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Conformal(_Part):
    """Calibration of the prediction sets; see `app.core.conformal`."""

    split: Literal["slide", "site"] = Field(
        description="Whose answers: out of fold by slide, or a site's own tiles."
    )
    scores: tuple[float, ...] = Field(description="Adaptive scores of the true labels, ascending.")


class InputGate(_Part):
    """Limits that real tiles keep; see `app.core.appearance` and `app.core.neighbours`."""

    min_tissue_share: Share
    min_contrast: Annotated[float, Field(ge=0)]
    min_sharpness: Annotated[float, Field(ge=0)]
    min_stain_share: Share
    absorption: tuple[tuple[float, float], tuple[float, float], tuple[float, float]] = Field(
        description="Lowest and highest share of the absorbed light in red, green and blue."
    )
    max_distance: Annotated[float, Field(gt=0)] | None = Field(
        description="From the training tiles; null where distances were not measured."
    )


class Histogram(_Part):
    """Counts between edges: `len(counts) == len(edges) + 1`."""

    edges: tuple[float, ...]
    counts: tuple[Annotated[int, Field(ge=0)], ...]


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
