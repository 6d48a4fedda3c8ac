"""Which scope each request needs; OpenAPI declares the same."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final
from urllib.parse import parse_qsl

from app.access.caller import Scope

ALWAYS_OPEN: Final = frozenset({"/livez", "/readyz"})
METRICS_PATH: Final = "/metrics"
_DOCUMENT_PATHS: Final = frozenset({"/", "/docs", "/openapi.json"})
_DOCUMENT_PREFIXES: Final = ("/problems/", "/static-offline-docs/")
_SCOPES: Final = {
    "/v1/classify": Scope.CLASSIFY,
    "/v1/classify/batch": Scope.CLASSIFY,
    "/v1/explain": Scope.EXPLAIN,
    "/v1/explain/grid": Scope.EXPLAIN,
    METRICS_PATH: Scope.METRICS,
}
_MODELS_PREFIX: Final = "/v1/models/"
_SLIDE_ROOTS: Final = frozenset({"uploads", "slides", "jobs", "specimens"})
"""Below `/v1/`; every route of whole slides begins with one of them."""


def required_scope(method: str, path: str, query: bytes = b"") -> Scope | None:
    """The scope that a request needs; None if any caller may send it.

    Args:
        method: such as POST.
        path: without an escape or a slash at its end.
        query: as sent; `explain` adds evidence to a classification.
    """
    path = _routed(path)
    if path == "/v1/classify" and query and _asks_to_explain(query):
        return Scope.EXPLAIN
    if path.startswith(_MODELS_PREFIX) and method == "POST":
        return Scope.MODELS_WRITE
    if path.startswith("/v1/") and path.split("/", 3)[2] in _SLIDE_ROOTS:
        return Scope.SLIDES
    return _SCOPES.get(path)


def is_document(path: str) -> bool:
    """Whether a path is a page of documentation, which `OSTEO_DOCS_OPEN` opens."""
    return path in _DOCUMENT_PATHS or path.startswith(_DOCUMENT_PREFIXES)


def is_open(path: str, open_kinds: Collection[str]) -> bool:
    """Whether nobody needs to be identified for a path.

    Args:
        path: of the request.
        open_kinds: of "metrics" and "docs", those that are open.
    """
    if path in ALWAYS_OPEN:
        return True
    return ("metrics" in open_kinds and path == METRICS_PATH) or (
        "docs" in open_kinds and is_document(path)
    )


def _routed(path: str) -> str:
    """The path of the route that serves a path.

    Starlette's patterns end with `$`, which also matches before a line break at the end, so that
    `/metrics%0A` is served like `/metrics`.
    """
    return path.removesuffix("\n")


def _asks_to_explain(query: bytes) -> bool:
    """Whether the query has `explain`, with a value that the route may read as true."""
    values = dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True))
    return values.get("explain", "false").lower() not in {"false", "0", "off", "no", "f", "n"}
