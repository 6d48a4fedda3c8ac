"""Settings of tracing: where spans go, and of which requests."""

from __future__ import annotations

from pydantic import Field, PositiveFloat
from pydantic_settings import BaseSettings


class TracingSettings(BaseSettings):
    """OpenTelemetry traces of requests."""

    traces_url: str | None = Field(
        default=None,
        description="OpenTelemetry collector that takes OTLP over HTTP, such as "
        "`http://collector:4318`; the path is `/v1/traces` if the URL has none. Nothing is traced "
        "if not set.",
    )
    traces_share: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="Share of requests that are traced. A request with a `traceparent` is traced "
        "if its caller says so, whatever the share.",
    )
    traces_per_s: PositiveFloat = Field(
        default=100.0,
        description="Requests per second that are traced at most; it also limits what callers ask "
        "for.",
    )
