"""What the API answers, as pydantic models; OpenAPI is made from them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.problems import Problem
from app.core.input_gate import ReviewReason
from app.core.manifest import InputContract, Label, Manifest

RESEARCH_USE = "Research use only. Not a medical device; not for diagnosis or treatment."

Probability = Annotated[float, Field(ge=0, le=1)]
Availability = Literal["available", "unavailable"]


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, protected_namespaces=())


class ModelIdentity(_Answer):
    """Which model answered. `bundle_sha256` pins every byte of it."""

    name: str
    version: str
    bundle_sha256: str


class TileFacts(_Answer):
    """What was received. The SHA-256 identifies the tile; names are neither kept nor logged."""

    sha256: str
    format: Literal["JPEG", "PNG", "TIFF", "WEBP"]
    width_px: int
    height_px: int


class Timing(_Answer):
    """Seconds spent on this tile."""

    decode_s: float = Field(description="Bytes to pixels.")
    queue_s: float = Field(description="Waiting for a free worker.")
    inference_s: float = Field(description="Pixels to probabilities.")


class PredictionSet(_Answer):
    """Labels that hold the true one with probability `coverage`, on tiles like the calibration's.

    Romano et al. 2020. `unavailable` where too few tiles were calibrated on for this coverage:
    then there are no labels, rather than a guess.
    """

    status: Availability
    coverage: float = Field(description="The service's `OSTEO_COVERAGE`.")
    labels: list[str] | None = Field(
        default=None, description="Likeliest first; null where unavailable."
    )
    reason: str | None = Field(default=None, description="Why it is unavailable.")


class Review(_Answer):
    """Whether a person should look at the tile before anybody uses the answer, and why."""

    required: bool
    reasons: list[ReviewReason]


class Checks(_Answer):
    """What the review was decided on; `docs/trust.md` says how each is measured."""

    tissue_share: float = Field(description="Pixels that absorb light, in [0, 1].")
    contrast: float = Field(description="Standard deviation of grey levels.")
    sharpness: float = Field(description="Standard deviation of the Laplacian, in grey levels.")
    stain_share: float = Field(description="Tissue in haematoxylin-eosin colours, in [0, 1].")
    distance: float | None = Field(
        default=None,
        description="From the training tiles, in [0, 2]; null where the bundle has no reference.",
    )
    max_distance: float | None = Field(
        default=None, description="Distance from which a tile is out of distribution."
    )


class Explanation(_Answer):
    """Where the evidence for a label lies: Grad-CAM (Selvaraju et al. 2017) of the model's input.

    The input is the centre square of the tile; `grid[0][0]` is its upper left corner.
    """

    status: Availability
    label: str = Field(description="Whose evidence: the predicted label, or the one asked for.")
    grid: list[list[float]] | None = Field(
        default=None,
        description="Evidence in [0, 1], rows from the top, as a share of the highest; null where "
        "unavailable.",
    )
    max_logit: float | None = Field(
        default=None, description="Contribution to the logit at the highest point of the map."
    )
    reason: str | None = Field(default=None, description="Why it is unavailable.")


class TileResult(_Answer):
    """The answer for one tile."""

    prediction: str = Field(description="Label id with the highest probability.")
    probabilities: dict[str, Probability] = Field(
        description="Calibrated probability by label id; they sum to 1."
    )
    tumor_probability: Probability = Field(
        description="Probability of any tumour, viable or not: the sum over the tumour labels."
    )
    prediction_set: PredictionSet
    review: Review
    checks: Checks
    explanation: Explanation | None = Field(
        default=None, description="Where it was asked for, with `explain=true`."
    )
    model: ModelIdentity
    tile: TileFacts
    timing: Timing


class ClassifyAnswer(TileResult):
    """The answer of `POST /v1/classify`."""

    request_id: str = Field(description="As sent in `X-Request-ID`, or made here.")


class BatchItem(_Answer):
    """One tile of a batch, in the order sent: a result or a problem, never both."""

    index: int
    result: TileResult | None = None
    problem: Problem | None = None


class BatchAnswer(_Answer):
    """The answer of `POST /v1/classify/batch`."""

    request_id: str
    n_tiles: int
    n_problems: int
    items: list[BatchItem]


class Limits(_Answer):
    """What an upload may cost at most."""

    max_tile_bytes: int
    max_tile_pixels: int
    min_tile_side_px: int
    max_request_tiles: int
    max_request_bytes: int
    max_upload_bytes: int
    max_tiles_in_flight: int
    body_timeout_s: float
    request_timeout_s: float


class ServedModel(_Answer):
    """A model that is served, and how."""

    name: str
    version: str
    bundle_sha256: str
    labels: tuple[Label, ...]
    input: InputContract
    runtime: str
    precision: str
    device: str
    workers: int
    manifest: Manifest


class ModelsAnswer(_Answer):
    """The answer of `GET /v1/models`."""

    notice: str = RESEARCH_USE
    models: list[ServedModel]
    versions: list[str] = Field(description="Versions in the models folder, oldest first.")
    limits: Limits


class Health(_Answer):
    """The answer of a probe."""

    status: str = Field(examples=["live", "ready"])
