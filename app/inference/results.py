"""The result of classifying one tile. The API returns it as it is; `osteo classify` prints it."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.core.review import ReviewReason

RESEARCH_USE: Final = "Research use only. Not a medical device; not for diagnosis or treatment."

Probability = Annotated[float, Field(ge=0, le=1)]
Availability = Literal["available", "unavailable"]


class Answer(BaseModel):
    """Base of every part of an answer. Every field is always sent; null if it has no value."""

    model_config = ConfigDict(
        frozen=True, protected_namespaces=(), json_schema_serialization_defaults_required=True
    )


class ModelIdentity(Answer):
    """Which model answered. `bundle_sha256` identifies every byte of it."""

    name: str
    version: str
    bundle_sha256: str


class TileFacts(Answer):
    """What was received. The SHA-256 identifies the tile; names are neither kept nor logged."""

    sha256: str
    format: Literal["JPEG", "PNG", "TIFF", "WEBP"]
    width_px: int
    height_px: int


class Timing(Answer):
    """Seconds spent on this tile."""

    decode_s: float = Field(description="Decoding bytes to pixels.")
    queue_s: float = Field(description="Waiting for a free worker.")
    inference_s: float = Field(description="Computing probabilities from pixels.")


class PredictionSet(Answer):
    """Labels that include the true one with probability `coverage` (Romano et al. 2020).

    The coverage holds for tiles like those of the calibration set. With too few calibration tiles
    for this coverage the set is `unavailable` and has no labels.
    """

    status: Availability
    coverage: float = Field(description="The service's `OSTEO_COVERAGE`.")
    labels: list[str] | None = Field(
        default=None, description="Most probable first; null if unavailable."
    )
    reason: str | None = Field(default=None, description="Why the set is unavailable.")


class Review(Answer):
    """Whether a person should look at the tile before the answer is used, why, and how soon."""

    required: bool
    reasons: list[ReviewReason]
    priority: float = Field(
        ge=0,
        le=1,
        description="Look at tiles with a higher one first: entropy of the probabilities over its "
        "maximum, as in the model card's order of review; 1 if there is any other reason than "
        "`low_probability` or `ambiguous`. It does not find confident errors.",
    )


class Checks(Answer):
    """The measurements behind the review; `docs/trust.md` explains each."""

    tissue_share: float = Field(description="Share of pixels that absorb light, in [0, 1].")
    contrast: float = Field(description="Standard deviation of grey levels.")
    sharpness: float = Field(description="Standard deviation of the Laplacian, in grey levels.")
    stain_share: float = Field(
        description="Share of tissue in haematoxylin-eosin colours, in [0, 1]."
    )
    distance: float | None = Field(
        default=None,
        description="Distance from the training tiles, in [0, 2]; null if the bundle has no "
        "reference.",
    )
    max_distance: float | None = Field(
        default=None, description="Tiles beyond this distance are out of distribution."
    )


class Explanation(Answer):
    """The evidence map of a label: HiResCAM (Draelos & Carin 2020) of the tile.

    The input is the centre square of the tile; `grid[0][0]` is its upper left corner. The grid
    includes evidence on glass, which pictures leave out; `glass` says where it is.
    """

    status: Availability
    label: str = Field(description="The label explained: the predicted or the requested one.")
    grid: list[list[float]] | None = Field(
        default=None,
        description="Evidence in [0, 1], rows from the top, relative to the maximum of the map; "
        "null if unavailable.",
    )
    max_logit: float | None = Field(
        default=None, description="Contribution to the logit at the maximum of the map."
    )
    glass: list[list[Probability]] | None = Field(
        default=None,
        description="Share of glass in each cell of the grid, in [0, 1]; null if unavailable.",
    )
    glass_share: Probability | None = Field(
        default=None,
        description="Share of the evidence that lies on glass: the sum of `grid` times `glass` "
        "over the sum of `grid`. Above 0.9 the map is unavailable; null if there is no evidence.",
    )
    reason: str | None = Field(default=None, description="Why the map is unavailable.")


class TileResult(Answer):
    """The answer for one tile."""

    prediction: str = Field(description="Label id with the highest probability.")
    probabilities: dict[str, Probability] = Field(
        description="Calibrated probability by label id; they sum to 1."
    )
    tumor_probability: Probability | None = Field(
        description="Probability of any tumour, viable or not: the sum over the tumour labels. "
        "Null if no label of the model, or every label, is tumour."
    )
    prediction_set: PredictionSet
    review: Review
    checks: Checks
    explanation: Explanation | None = Field(
        default=None, description="The evidence map, if it was requested with `explain=true`."
    )
    model: ModelIdentity
    tile: TileFacts
    timing: Timing
