"""Settings of the service: environment variables `OSTEO_*`, read once, then passed down."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from app.core.errors import SettingsError
from app.core.tile import DEFAULT_LIMITS, TileLimits

PREFIX: Final = "OSTEO_"
TRAINING_VARIABLES: Final = frozenset({"OSTEO_DATA_DIR", "OSTEO_WEIGHTS"})
"""Read by `osteo-train`, so not misspelt when the service meets them."""

_MEBIBYTE: Final = 1024**2
# A Kubernetes Service named "osteo" makes the cluster set OSTEO_PORT=tcp://ADDRESS and more.
_SERVICE_LINK_HINT: Final = (
    " It looks like a Kubernetes service link: set enableServiceLinks: false on the pod."
)


class Settings(BaseSettings):
    """Every setting with its default; the environment variable is the name with `OSTEO_` before."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        # An empty variable, as compose files and missing secrets leave it, is one that is not set.
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
    )

    host: str = Field(
        default="127.0.0.1",
        description="Address to listen on. The default admits this machine only.",
    )
    port: int = Field(default=8000, ge=0, le=65535, description="TCP port to listen on.")
    models_dir: Path = Field(
        default=Path(__file__).resolve().parent.parent / "models",
        description="Folder that holds the bundles as `NAME/VERSION/`.",
    )
    model_name: str = Field(
        default="osteo-mobilenetv2", description="Which model of `models_dir` to serve."
    )
    model_version: str | None = Field(
        default=None, description="Which version of it; the newest where this is not set."
    )
    runtime: Literal["auto", "litert", "savedmodel"] = Field(
        default="auto",
        description="What runs the model. `auto`: TensorFlow on a GPU if it sees one, else LiteRT.",
    )
    precision: Literal["fp32", "int8"] = Field(
        default="fp32",
        description="`int8` runs the quantised LiteRT file, where the bundle has one that changed "
        "no prediction on the tiles it was calibrated on.",
    )
    max_batch_tiles: PositiveInt = Field(
        default=32, description="Most tiles in one micro-batch of the SavedModel runtime."
    )
    max_batch_delay_ms: float = Field(
        default=2.0,
        ge=0,
        description="Milliseconds a micro-batch waits for further tiles.",
    )
    gpu_mixed_precision: bool = Field(
        default=False, description="Let TensorFlow compute in half precision on a GPU."
    )
    gpu_xla: bool = Field(default=False, description="Let TensorFlow compile with XLA on a GPU.")
    watch_models_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between looks for a newer version folder to take into service; "
        "0 does not look.",
    )
    admin_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token of the routes that change which version is served; they are "
        "closed where this is not set.",
    )
    workers: PositiveInt | None = Field(
        default=None,
        description="LiteRT interpreters; one more than usable cores where this is not set. With "
        "several cores one more is kept for a tile that is alone.",
    )
    coverage: float = Field(
        default=0.9,
        gt=0,
        lt=1,
        description="Probability with which a prediction set shall hold the true label.",
    )
    review_min_probability: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Answers less probable than this are sent to review as `low_probability`.",
    )
    review_ambiguous: bool = Field(
        default=True,
        description="Send answers whose prediction set holds several labels to review as "
        "`ambiguous`.",
    )
    review_max_aspect: float = Field(
        default=1.25,
        ge=1,
        description="Longer side over shorter side from which a tile is `not_square`: only its "
        "centre is seen.",
    )
    review_min_side_px: PositiveInt = Field(
        default=224, description="Shorter sides than this are enlarged, and `too_small`."
    )
    review_min_tissue_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Tiles with less tissue are `blank`; the bundle's own limit where this is "
        "not set.",
    )
    review_min_sharpness: float | None = Field(
        default=None,
        ge=0,
        description="Tiles less sharp are `blurred`; the bundle's own limit where this is not set.",
    )
    review_min_stain_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Tiles with a smaller share of haematoxylin-eosin colours are `not_tissue`; "
        "the bundle's own limit where this is not set.",
    )
    review_max_distance: float | None = Field(
        default=None,
        gt=0,
        description="Tiles further from the training tiles are `out_of_distribution`; the "
        "bundle's own limit where this is not set.",
    )
    drift_window_tiles: PositiveInt = Field(
        default=1000,
        description="Latest tiles over which the population stability index is taken.",
    )
    max_tile_bytes: PositiveInt = Field(
        default=DEFAULT_LIMITS.max_bytes, description="Largest encoded tile, in bytes."
    )
    max_tile_pixels: PositiveInt = Field(
        default=DEFAULT_LIMITS.max_pixels,
        description="Largest tile, width times height; checked before any pixel is decoded.",
    )
    min_tile_side_px: PositiveInt = Field(
        default=DEFAULT_LIMITS.min_side_px, description="Shortest side of a tile, in pixels."
    )
    max_request_tiles: PositiveInt = Field(
        default=64, description="Most tiles in one request to `/v1/classify/batch`."
    )
    max_request_bytes: PositiveInt = Field(
        default=128 * _MEBIBYTE, description="Largest body of a batch request, in bytes."
    )
    max_upload_bytes: PositiveInt = Field(
        default=256 * _MEBIBYTE,
        description="Bytes all uploads together may hold in memory; more are refused with 429.",
    )
    body_timeout_s: PositiveFloat = Field(
        default=30.0, description="Seconds a request body may take to arrive."
    )
    request_timeout_s: PositiveFloat = Field(
        default=20.0,
        description="Seconds from a body's arrival to its answer; then 503, and tiles that still "
        "wait are not computed.",
    )
    max_tiles_in_flight: PositiveInt = Field(
        default=128,
        description="Tiles waiting or worked on in all; more are refused with 429 at once.",
    )
    connection_limits: bool = Field(
        default=True,
        description="Limit slow headers, endless bodies and stalled readers; `off` leaves that to "
        "an ingress (docs/ingress.md).",
    )
    drain_delay_s: float = Field(
        default=0.0,
        ge=0,
        description="Seconds between readiness going off on SIGTERM and the port closing, "
        "so that a load balancer can look away first.",
    )
    drain_timeout_s: PositiveFloat = Field(
        default=25.0, description="Seconds that requests in flight get to finish after that."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe event that is logged."
    )

    @model_validator(mode="after")
    def _a_full_batch_fits(self) -> Self:
        if self.max_request_tiles > self.max_tiles_in_flight:
            raise ValueError(
                "OSTEO_MAX_REQUEST_TILES must not exceed OSTEO_MAX_TILES_IN_FLIGHT, "
                "else a full batch could never be admitted"
            )
        return self

    @property
    def tile_limits(self) -> TileLimits:
        """The limits `decode_tile` checks."""
        return TileLimits(
            max_bytes=self.max_tile_bytes,
            max_pixels=self.max_tile_pixels,
            min_side_px=self.min_tile_side_px,
        )


def read_settings(environ: Mapping[str, str] = os.environ, **overrides: Any) -> Settings:
    """Read the settings and refuse names that mean nothing.

    Args:
        environ: where misspelt names are looked for; values always come from the process.
        overrides: settings given on the command line; they win over the environment.

    Raises:
        SettingsError: a variable is misspelt or a value is out of range; the sentence names it.
    """
    known = {PREFIX + name.upper() for name in Settings.model_fields} | TRAINING_VARIABLES
    for variable in sorted(environ):
        if variable.upper().startswith(PREFIX) and variable.upper() not in known:
            raise SettingsError(_unknown_variable(variable, environ[variable], known))
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise SettingsError(_invalid_values(error)) from error


def _unknown_variable(variable: str, value: str, known: set[str]) -> str:
    hint = _SERVICE_LINK_HINT if "tcp://" in value or variable.startswith("OSTEO_SERVICE_") else ""
    close = difflib.get_close_matches(variable.upper(), known, n=1)
    guess = f" Did you mean {close[0]}?" if close and not hint else ""
    return f"{variable} is not a setting.{guess}{hint} docs/settings.md lists them all."


def _invalid_values(error: ValidationError) -> str:
    sentences = []
    for problem in error.errors():
        if not problem["loc"]:  # about several settings, which the sentence names
            sentences.append(problem["msg"])
            continue
        name = PREFIX + "_".join(str(part) for part in problem["loc"]).upper()
        hint = _SERVICE_LINK_HINT if str(problem["input"]).startswith("tcp://") else ""
        got = "" if "TOKEN" in name else f" (got {problem['input']!r})"  # secrets stay secret
        sentences.append(f"{name}: {problem['msg']}{got}.{hint}")
    return " ".join(sentences)
