"""Which pages of other origins may use the service."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import Scope

from app.api.request_context import REQUEST_ID_HEADER
from app.api.tus import TUS_ANSWER_HEADERS
from app.settings.origins import ANY_ORIGIN

EXPOSED_HEADERS: Final = (
    *("Allow", "RateLimit", "RateLimit-Policy", "Retry-After", "WWW-Authenticate"),
    REQUEST_ID_HEADER,
    *("X-Osteo-Explained", "X-Osteo-Model", "X-Osteo-Prediction", "X-Osteo-Probability"),
    *("X-Osteo-Glass-Share", "X-Osteo-Review", "X-Osteo-Review-Priority"),
    "Location",
    *TUS_ANSWER_HEADERS,
)
"""Headers that pages of other origins may read; a test compares them with those of a picture."""
_STATE_KEY: Final = "cross_origin"


class CrossOrigin:
    """Which origins' pages may read answers (Fetch standard, section CORS protocol).

    Credentials are never allowed: the service knows no cookies, and a page sends its API key or
    token in a header of its own.
    """

    def __init__(self, origins: Collection[str]) -> None:
        """Allow some origins, or every one (`*`); none switches the protocol off."""
        self._origins = frozenset(origins)

    @property
    def is_on(self) -> bool:
        """Whether any origin is allowed."""
        return bool(self._origins)

    def allows(self, origin: str) -> bool:
        """Whether the pages of an origin may read answers."""
        return not self._origins.isdisjoint({origin, ANY_ORIGIN})

    def add_headers(self, headers: MutableHeaders, origin: str | None) -> None:
        """Add to an answer what lets the pages of an allowed origin read it."""
        if not self.is_on:
            return
        if ANY_ORIGIN not in self._origins:
            headers.add_vary_header("Origin")  # a cache must not serve it to another origin
        if origin is not None and self.allows(origin):
            allowed = ANY_ORIGIN if ANY_ORIGIN in self._origins else origin
            headers["Access-Control-Allow-Origin"] = allowed
            headers["Access-Control-Expose-Headers"] = ", ".join(EXPOSED_HEADERS)


_OFF: Final = CrossOrigin(())


def cross_origin_state(cross_origin: CrossOrigin) -> dict[str, Any]:
    """The state that the application's lifespan shares with all requests."""
    return {_STATE_KEY: cross_origin}


def find_cross_origin(state: Mapping[str, Any]) -> CrossOrigin:
    """The policy in the state of a request; off if the state has none."""
    found: CrossOrigin = state.get(_STATE_KEY, _OFF)
    return found


def is_preflight(scope: Scope) -> bool:
    """Whether a browser asks on behalf of a page, before the page's own request."""
    if scope["type"] != "http" or scope["method"] != "OPTIONS":
        return False
    headers = Headers(scope=scope)
    return "origin" in headers and "access-control-request-method" in headers
