"""Open tracing; OpenTelemetry is imported only if it is on."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from app import __version__
from app.core.errors import SettingsError

if TYPE_CHECKING:
    from app.telemetry.request_traces import Tracer

_PATH: Final = "/v1/traces"
"""OTLP specification, section OTLP/HTTP request."""


def open_tracer(
    url: str | None, share: float, max_per_s: float, model_name: str, replica: str | None
) -> Tracer | None:
    """The tracer of a service; None if no collector is set.

    Args:
        url: `OSTEO_TRACES_URL`.
        share: `OSTEO_TRACES_SHARE`.
        max_per_s: `OSTEO_TRACES_PER_S`.
        model_name: the model that it serves.
        replica: its name; the host's name if None.

    Raises:
        SettingsError: the URL is wrong, or the packages of the extra are not installed.
    """
    if url is None:
        return None
    endpoint = _collector_url(url)
    try:
        from app.telemetry.request_traces import Tracer
        from app.telemetry.span_export import SpanExport
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise SettingsError(
            "OSTEO_TRACES_URL needs the packages of OpenTelemetry: "
            "pip install 'osteo-tiles[tracing]'. Without the setting nothing is traced."
        ) from error
    resource = {
        "service.name": "osteo-tiles",
        "service.version": __version__,
        "service.instance.id": replica or socket.gethostname(),
        "osteo.model.name": model_name,
    }
    return Tracer(resource, share, max_per_s, SpanExport(endpoint))


def _collector_url(given: str) -> str:
    """The URL with its path. The error does not repeat it: it may hold a password."""
    try:
        parts = urlsplit(given)
        is_url = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:  # an invalid port or IPv6 address
        is_url = False
    if not is_url:
        raise SettingsError(
            "OSTEO_TRACES_URL must be an http:// or https:// URL with a host, such as "
            "http://collector:4318."
        )
    if "@" in parts.netloc:
        raise SettingsError(
            "OSTEO_TRACES_URL must not hold a name or a password. Set OTEL_EXPORTER_OTLP_HEADERS, "
            "such as authorization=Bearer%20TOKEN."
        )
    path = _PATH if parts.path in {"", "/"} else parts.path
    return urlunsplit(parts._replace(path=path))
