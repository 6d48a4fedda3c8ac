"""What only the API answers, as pydantic models; OpenAPI is generated from them."""

from __future__ import annotations

from pydantic import Field

from app.api.problems import Problem
from app.core.manifest import InputContract, Label, Manifest
from app.inference.results import RESEARCH_USE, Answer, TileResult


class ClassifyAnswer(TileResult):
    """The answer of `POST /v1/classify`."""

    request_id: str = Field(description="From the header `X-Request-ID`, or generated.")


class BatchItem(Answer):
    """One tile of a batch, in the order sent: either a result or a problem; the other is null."""

    index: int = Field(description="Position of the tile in the request, from 0.")
    file_name: str | None = Field(default=None, description="As the client sent it; never logged.")
    result: TileResult | None = None
    problem: Problem | None = None


class BatchAnswer(Answer):
    """The answer of `POST /v1/classify/batch`."""

    request_id: str
    n_tiles: int
    n_problems: int
    items: list[BatchItem]


class Limits(Answer):
    """Limits on uploads."""

    max_tile_bytes: int
    max_tile_pixels: int
    min_tile_side_px: int
    max_request_tiles: int
    max_request_bytes: int
    max_upload_bytes: int
    max_tiles_in_flight: int
    body_timeout_s: float
    request_timeout_s: float


class ServedModel(Answer):
    """The model that serves, and how it runs."""

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


class ModelsAnswer(Answer):
    """The answer of `GET /v1/models`."""

    notice: str = RESEARCH_USE
    models: list[ServedModel]
    versions: list[str] = Field(description="Versions in the models folder, oldest first.")
    limits: Limits


class Health(Answer):
    """The answer of a probe."""

    status: str = Field(examples=["live", "ready"])
