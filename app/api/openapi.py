"""What generators of clients need in the OpenAPI document, beyond what FastAPI writes itself."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.api.access_control import API_KEY_HEADER
from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES
from app.api.request_context import REQUEST_ID_HEADER, REQUEST_ID_PATTERN
from app.api.route_scopes import ALWAYS_OPEN
from app.api.uploads import TILE_FIELD, TILES_FIELD
from app.core.errors import OsteoError
from app.core.header_errors import RequestIdError

EXAMPLES_FILE: Final = Path(__file__).with_name("examples.json")
"""Real answers by name: of an operation by its id, of a problem by its code."""
RETRY_AFTER_HEADER: Final = "Retry-After"
CHALLENGE_HEADER: Final = "WWW-Authenticate"
BINARY: Final = {"type": "string", "format": "binary"}

UPLOAD_CODES: Final = (
    *("malformed-request", "upload-timeout", "body-too-large", "too-many-tiles", "missing-tile"),
    *("unsupported-media-type", "unsupported-encoding"),
    *("queue-full", "uploads-full", "not-ready", "deadline-exceeded", "out-of-memory"),
)
"""Problems of every route that receives tiles."""
TILE_CODES: Final = (
    *("tile-too-large", "too-many-pixels", "unsupported-format", "empty-tile", "tile-too-small"),
    *("too-many-frames", "too-many-scans", "too-many-segments", "decode-budget"),
    *("unsupported-pixels", "corrupt-tile", "text-instead-of-file", "inference-failed"),
)
"""Problems of one tile. In a batch they are in the items of the answer."""
_CODES_OF_ALL: Final = (RequestIdError.code, OsteoError.code)
_CODES_OF_CALLERS: Final = (
    *("credentials-missing", "credentials-invalid"),
    *("identity-provider-unavailable", "audit-unavailable"),
)
_CODES_OF_SCOPES: Final = ("scope-missing", "rate-limited")
_SECURITY: Final[list[dict[str, list[str]]]] = [{"Bearer": []}, {"ApiKey": []}, {}]
"""The last one: a service on a loopback address may be open to everybody."""
_SECURITY_SCHEMES: Final = {
    "Bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or an access token of the identity provider.",
    },
    "ApiKey": {
        "type": "apiKey",
        "in": "header",
        "name": API_KEY_HEADER,
        "description": "An API key.",
    },
}

TAGS: Final = [
    {"name": "tiles", "description": "Classify tiles and show the evidence."},
    {"name": "slides", "description": "Upload whole slides, classify them, fetch the results."},
    {"name": "models", "description": "Describe the model that serves, and switch its version."},
    {"name": "health", "description": "Probes and metrics; they never wait for the model."},
]
LICENSE: Final = {"name": "Apache License 2.0", "identifier": "Apache-2.0"}
CONTACT: Final = {"name": "The osteo-tiles authors"}
SERVERS: Final = [{"url": "/", "description": "The service that answered with this document."}]


def _header(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "required": True, "schema": schema}


_HEADERS: Final = {
    REQUEST_ID_HEADER: _header(
        "The id of the request: the client's, or a generated one.",
        {"type": "string", "pattern": REQUEST_ID_PATTERN},
    ),
    RETRY_AFTER_HEADER: _header(
        "Seconds after which the same request may succeed.", {"type": "integer", "minimum": 1}
    ),
    CHALLENGE_HEADER: _header("How to say who calls (RFC 6750).", {"type": "string"}),
    "X-Osteo-Prediction": _header("Label id with the highest probability.", {"type": "string"}),
    "X-Osteo-Probability": _header(
        "Calibrated probability of the prediction, with 4 decimals.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "X-Osteo-Explained": _header("Label id that the picture explains.", {"type": "string"}),
    "X-Osteo-Glass-Share": _header(
        "Share of the evidence that lies on glass and is not drawn.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "X-Osteo-Review": _header(
        "Reasons why a person should look at the tile, separated by commas; empty "
        "if there is none.",
        {"type": "string"},
    ),
    "X-Osteo-Review-Priority": _header(
        "Look at tiles with a higher one first; `review.priority` of the answer.",
        {"type": "number", "minimum": 0, "maximum": 1},
    ),
    "X-Osteo-Model": _header(
        "Name and version of the model, separated by a slash.", {"type": "string"}
    ),
}
_FORMS: Final[dict[str, dict[str, Any]]] = {
    "TileForm": {
        "description": "One tile: a JPEG, PNG, TIFF or WebP file.",
        "type": "object",
        "required": [TILE_FIELD],
        "properties": {TILE_FIELD: BINARY},
    },
    "TilesForm": {
        "description": "Several tiles: JPEG, PNG, TIFF or WebP files.",
        "type": "object",
        "required": [TILES_FIELD],
        "properties": {TILES_FIELD: {"type": "array", "items": BINARY, "minItems": 1}},
    },
}


def operation_id(route: APIRoute) -> str:
    """The name of a route's handler, which generators turn into the name of a method."""
    return route.name


def problem_responses(
    *codes: str, needs_caller: bool = True, needs_scope: bool = True
) -> dict[int | str, dict[str, Any]]:
    """The responses of a route that can answer with these problems, by status.

    `invalid-request-id` and `internal-error` need not be listed: every route can answer with them.
    Nor need those about callers be listed.

    Args:
        codes: of the problems.
        needs_caller: whether the route needs a caller on a service that identifies callers.
        needs_scope: whether that caller needs a scope.
    """
    by_status: defaultdict[int | str, list[str]] = defaultdict(list)
    of_callers = _CODES_OF_CALLERS if needs_caller else ()
    of_scopes = _CODES_OF_SCOPES if needs_caller and needs_scope else ()
    for code in (*codes, *of_callers, *of_scopes, *_CODES_OF_ALL):
        by_status[PROBLEM_TYPES[code].status].append(code)
    return {
        status: {
            "description": "; ".join(f"`{code}`: {PROBLEM_TYPES[code].title}" for code in codes),
            "content": {
                MEDIA_TYPE: {
                    "schema": _reference("schemas", "Problem"),
                    "examples": {code: _reference("examples", code) for code in codes},
                }
            },
        }
        for status, codes in sorted(by_status.items(), key=lambda item: int(item[0]))
    }


def form_body(form: str) -> dict[str, Any]:
    """The `openapi_extra` of a route that receives `TileForm` or `TilesForm`.

    The raw body is not declared: several generators do not support a choice of bodies.
    """
    content = {"multipart/form-data": {"schema": _reference("schemas", form)}}
    return {"requestBody": {"required": True, "content": content}}


def picture_response() -> dict[int | str, dict[str, Any]]:
    """The 200 of a route that answers with a PNG and headers that describe it."""
    headers = {name: _reference("headers", name) for name in _HEADERS if name.startswith("X-Osteo")}
    return {
        200: {
            "description": "The picture.",
            "headers": headers,
            "content": {"image/png": {"schema": BINARY}},
        }
    }


def install_document(app: FastAPI) -> None:
    """Complete the document that `app.openapi()` returns and `/openapi.json` serves."""
    app.openapi = partial(_document, app, app.openapi)  # type: ignore[method-assign] # FastAPI's way


def _document(app: FastAPI, generate: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    known = app.openapi_schema
    document = generate()
    if document is not known:  # FastAPI keeps the document and returns the same one again
        _complete(document)
    return document


def _complete(document: dict[str, Any]) -> None:
    examples = json.loads(EXAMPLES_FILE.read_bytes())
    document["security"] = _SECURITY
    components = document["components"]
    components["securitySchemes"] = _SECURITY_SCHEMES
    components["schemas"].update(_FORMS)
    components["headers"] = _HEADERS
    components["examples"] = {
        name: {
            "summary": PROBLEM_TYPES[name].title if name in PROBLEM_TYPES else "A real answer.",
            "value": value,
        }
        for name, value in examples.items()
    }
    for path in ALWAYS_OPEN:
        document["paths"][path]["get"]["security"] = []
    for operation in (op for item in document["paths"].values() for op in item.values()):
        for status, response in operation["responses"].items():
            _add_headers(status, response)
        name = operation["operationId"]
        for status, response in operation["responses"].items():
            json_answer = response.get("content", {}).get("application/json")
            if status.startswith("2") and json_answer is not None and name in examples:
                json_answer["examples"] = {name: _reference("examples", name)}
    for schema in _schemas_below(components["schemas"]):
        _declare_items(schema)


def _add_headers(status: str, response: dict[str, Any]) -> None:
    further = {"401": CHALLENGE_HEADER, "429": RETRY_AFTER_HEADER, "503": RETRY_AFTER_HEADER}
    names = [REQUEST_ID_HEADER, *([further[status]] if status in further else ())]
    response.setdefault("headers", {}).update({n: _reference("headers", n) for n in names})


def _declare_items(schema: dict[str, Any]) -> None:
    """Describe a tuple as an array of one kind of items, which every generator understands."""
    kinds = schema.pop("prefixItems", [])
    if kinds:
        schema["items"] = kinds[0] if all(kind == kinds[0] for kind in kinds) else {"anyOf": kinds}


def _schemas_below(part: Any) -> Iterator[dict[str, Any]]:
    """Every object below a part of the document; a schema among others."""
    if isinstance(part, dict):
        yield part
    if isinstance(part, (dict, list)):
        for below in part.values() if isinstance(part, dict) else part:
            yield from _schemas_below(below)


def _reference(kind: str, name: str) -> dict[str, str]:
    return {"$ref": f"#/components/{kind}/{name}"}
