"""Every setting of the service: name, default, bounds, description."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import (
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.core.manifest import VERSION_PATTERN
from app.core.signature import PublicKey
from app.core.tile import DEFAULT_LIMITS, TileLimits
from app.settings.access import AccessSettings
from app.settings.audit import AuditSettings
from app.settings.origins import parse_origins
from app.settings.paths import FilePath
from app.settings.slides import SlideSettings
from app.settings.tracing import TracingSettings

PREFIX: Final = "OSTEO_"
_MEBIBYTE: Final = 1024**2


class Settings(SlideSettings, TracingSettings, AuditSettings, AccessSettings):
    """Every setting with its default; its environment variable is `OSTEO_` plus the name."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        # Compose files and missing secrets leave empty variables, which count as not set.
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read no `.env` file: none is named, and looking in it doubles the time of reading."""
        del settings_cls, dotenv_settings  # pydantic-settings passes all of them by name
        return init_settings, env_settings, file_secret_settings

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default accepts connections from this machine only.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port to listen on.")
    models_dir: FilePath = Field(
        default=Path(__file__).resolve().parents[2] / "models",
        description="Folder that contains the bundles as `NAME/VERSION/`.",
    )
    model_name: str = Field(
        default="osteo-mobilenetv2", description="Model to serve from `OSTEO_MODELS_DIR`."
    )
    model_version: str | None = Field(
        default=None,
        pattern=VERSION_PATTERN,
        description="Version of the model to serve; the newest if not set.",
    )
    bundle_sha256: str | None = Field(
        default=None,
        pattern=r"^[0-9a-f]{64}$",
        description="SHA-256 of the only bundle that may serve (of its `manifest.json`); any if "
        "not set.",
    )
    bundle_public_key: str | None = Field(
        default=None,
        description="Ed25519 or minisign public key with which bundles must be signed "
        "(docs/bundles.md); signatures are not checked if not set.",
    )
    runtime: Literal["auto", "litert", "savedmodel"] = Field(
        default="auto",
        description="Runtime of the model. `auto` uses TensorFlow if it sees a GPU, else LiteRT.",
    )
    precision: Literal["fp32", "int8"] = Field(
        default="fp32",
        description="`int8` runs the quantised LiteRT file if it changed no prediction on the "
        "tiles it was calibrated on.",
    )
    max_batch_tiles: PositiveInt = Field(
        default=32,
        description="Maximum number of tiles in a micro-batch of the SavedModel runtime.",
    )
    max_batch_delay_ms: float = Field(
        default=2.0,
        ge=0,
        description="Milliseconds that a micro-batch waits for more tiles.",
    )
    gpu_mixed_precision: bool = Field(
        default=False, description="Let TensorFlow compute in half precision on a GPU."
    )
    gpu_xla: bool = Field(default=False, description="Let TensorFlow compile with XLA on a GPU.")
    watch_models_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between checks for a newer version folder to activate; 0 disables the "
        "checks.",
    )
    workers: PositiveInt | None = Field(
        default=None,
        description="LiteRT interpreters; the number of usable cores plus one if not set. With "
        "several cores the service adds an interpreter for a tile that is alone.",
    )
    coverage: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Probability that a prediction set must contain the true label.",
    )
    review_min_probability: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Predictions with a lower probability go to review as `low_probability`.",
    )
    review_ambiguous: bool = Field(
        default=True,
        description="Send answers whose prediction set contains several labels to review as "
        "`ambiguous`.",
    )
    review_max_aspect: float = Field(
        default=1.25,
        ge=1,
        description="Tiles whose longer side exceeds this multiple of the shorter one go to review "
        "as `not_square`: the model sees only their centre.",
    )
    review_min_side_px: PositiveInt = Field(
        default=224,
        description="Tiles with a shorter side are enlarged and go to review as `too_small`.",
    )
    review_min_tissue_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Tiles with a smaller share of tissue go to review as `blank`; the bundle's "
        "limit if not set.",
    )
    review_min_sharpness: float | None = Field(
        default=None,
        ge=0,
        description="Tiles that are less sharp go to review as `blurred`; the bundle's limit if "
        "not set.",
    )
    review_min_stain_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Tiles with a smaller share of haematoxylin-eosin colours go to review as "
        "`not_tissue`; the bundle's limit if not set.",
    )
    review_max_distance: float | None = Field(
        default=None,
        gt=0,
        description="Tiles farther from the training tiles go to review as `out_of_distribution`; "
        "the bundle's limit if not set.",
    )
    drift_window_tiles: PositiveInt = Field(
        default=1000,
        description="Number of recent tiles over which the population stability index is computed.",
    )
    max_tile_bytes: PositiveInt = Field(
        default=DEFAULT_LIMITS.max_bytes, description="Maximum size of an encoded tile, in bytes."
    )
    max_tile_pixels: PositiveInt = Field(
        default=DEFAULT_LIMITS.max_pixels,
        description="Maximum width times height of a tile; checked before any pixel is decoded.",
    )
    max_decode_s: PositiveFloat = Field(
        default=2.0, description="Maximum processor time to decode one tile, in seconds."
    )
    max_decode_bytes: PositiveInt = Field(
        default=512 * _MEBIBYTE,
        description="Maximum memory to decode one tile, in bytes, beyond that of an idle decoder.",
    )
    min_tile_side_px: PositiveInt = Field(
        default=DEFAULT_LIMITS.min_side_px,
        description="Minimum length of a tile's shorter side, in pixels.",
    )
    max_request_tiles: PositiveInt = Field(
        default=64, description="Maximum number of tiles in a request to `/v1/classify/batch`."
    )
    max_request_bytes: PositiveInt = Field(
        default=128 * _MEBIBYTE, description="Maximum size of a batch request's body, in bytes."
    )
    max_upload_bytes: PositiveInt = Field(
        default=256 * _MEBIBYTE,
        description="Bytes that all uploads together may hold in memory; further uploads get 429.",
    )
    body_timeout_s: PositiveFloat = Field(
        default=30.0, description="Seconds in which a request body must arrive."
    )
    min_upload_bytes_per_s: PositiveInt = Field(
        default=16 * 1024,
        description="Minimum rate at which a request body must arrive, in bytes per second. Slower "
        "uploads get 408.",
    )
    upload_grace_s: PositiveFloat = Field(
        default=5.0,
        description="Seconds over which `OSTEO_MIN_UPLOAD_BYTES_PER_S` is an average. A body that "
        "stalls for this long gets 408.",
    )
    request_timeout_s: PositiveFloat = Field(
        default=20.0,
        description="Seconds from the arrival of a request body to its answer. After that the "
        "client gets 503, and tiles that still wait are not computed.",
    )
    max_tiles_in_flight: PositiveInt = Field(
        default=128,
        description="Maximum number of tiles that wait or are being classified; further tiles get "
        "429.",
    )
    max_queue_s: PositiveFloat = Field(
        default=5.0,
        description="Maximum time that tiles in flight may take, in seconds, as estimated from "
        "recent tiles; further tiles get 429. At most half of `OSTEO_REQUEST_TIMEOUT_S` is used.",
    )
    connection_limits: bool = Field(
        default=True,
        description="Limit slow headers, stalled uploads, endless bodies and stalled readers; "
        "`off` leaves that to an ingress (docs/ingress.md).",
    )
    keep_alive_s: PositiveInt = Field(
        default=75,
        description="Seconds after which an idle connection is closed. An ingress must close its "
        "idle connections earlier (nginx: after 60 s).",
    )
    cors_origins: str | None = Field(
        default=None,
        description="Origins whose web pages may use the service from a browser, separated by "
        "commas, such as `https://viewer.example.org`; `*` allows every page. No page may if not "
        "set.",
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between readiness going off on SIGTERM and the port closing, so that "
        "a load balancer can stop sending requests first.",
    )
    drain_timeout_s: PositiveFloat = Field(
        default=25.0, description="Seconds that requests in flight then have to finish."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe level that is logged."
    )

    @field_validator("bundle_public_key")
    @classmethod
    def _require_public_key(cls, text: str | None) -> str | None:
        if text is not None:
            PublicKey.parse(text)
        return text

    @field_validator("cors_origins")
    @classmethod
    def _require_origins(cls, text: str | None) -> str | None:
        return text if text is None else ",".join(parse_origins(text)) or None

    @model_validator(mode="after")
    def _require_room_for_a_full_batch(self) -> Self:
        if self.max_request_tiles > self.max_tiles_in_flight:
            raise ValueError(
                f"OSTEO_MAX_REQUEST_TILES ({self.max_request_tiles}) must not exceed "
                f"OSTEO_MAX_TILES_IN_FLIGHT ({self.max_tiles_in_flight}), or a full batch could "
                "never be admitted"
            )
        return self

    @property
    def allowed_origins(self) -> tuple[str, ...]:
        """The origins in `cors_origins`, as browsers send them."""
        return parse_origins(self.cors_origins or "")

    @property
    def answer_settings(self) -> dict[str, float | bool | None]:
        """The settings on which an answer depends, besides the bundle and its runtime."""
        names = [name for name in type(self).model_fields if name.startswith("review_")]
        return {name: getattr(self, name) for name in ["coverage", *names]}

    @property
    def tile_limits(self) -> TileLimits:
        """The limits that `decode_tile` checks."""
        return TileLimits(
            max_bytes=self.max_tile_bytes,
            max_pixels=self.max_tile_pixels,
            min_side_px=self.min_tile_side_px,
        )
