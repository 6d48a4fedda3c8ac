"""Errors become RFC 9457 `application/problem+json` here: one table, one maker, five handlers."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from app.core import errors
from app.telemetry.logs import LOGGER_NAME

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "/problems/"
CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a client that went away; nobody receives it, logs and metrics show it."""

_logger = logging.getLogger(LOGGER_NAME)


class Problem(BaseModel):
    """RFC 9457 problem details; `docs/problems.md` explains every `type`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(examples=["/problems/corrupt-tile"])
    title: str
    status: int
    detail: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the same status, slug and title each time it happens."""

    status: int
    slug: str
    title: str


KIND_BY_ERROR: Final[Mapping[type[errors.OsteoError], Kind]] = {
    errors.EmptyTileError: Kind(422, "empty-tile", "The tile is empty"),
    errors.TileTooLargeError: Kind(413, "tile-too-large", "The tile has too many bytes"),
    errors.TooManyPixelsError: Kind(413, "too-many-pixels", "The image has too many pixels"),
    errors.TileTooSmallError: Kind(422, "tile-too-small", "The image is too small"),
    errors.TooManyFramesError: Kind(422, "too-many-frames", "The file holds several images"),
    errors.TileFormatError: Kind(415, "unsupported-format", "Not an image format that is read"),
    errors.TooManyScansError: Kind(422, "too-many-scans", "The JPEG takes too long to decode"),
    errors.PixelFormatError: Kind(422, "unsupported-pixels", "Not a pixel layout that is read"),
    errors.CorruptTileError: Kind(422, "corrupt-tile", "The image is damaged"),
    errors.MalformedRequestError: Kind(400, "malformed-request", "The body cannot be parsed"),
    errors.MissingTileError: Kind(422, "missing-tile", "No tile was sent"),
    errors.TooManyTilesError: Kind(413, "too-many-tiles", "Too many tiles in one request"),
    errors.BodyTooLargeError: Kind(413, "body-too-large", "The body has too many bytes"),
    errors.UnknownLabelError: Kind(422, "unknown-label", "The model has no such label"),
    errors.ExplanationUnavailableError: Kind(
        422, "explanation-unavailable", "There is nothing to explain"
    ),
    errors.UploadTimeoutError: Kind(408, "upload-timeout", "The body took too long to arrive"),
    errors.NotReadyError: Kind(503, "not-ready", "The service is not ready"),
    errors.QueueFullError: Kind(429, "queue-full", "Too many tiles are being worked on"),
    errors.UploadsFullError: Kind(429, "uploads-full", "Too many bytes are being uploaded"),
    errors.DeadlineError: Kind(503, "deadline-exceeded", "The answer took too long"),
    errors.AdminDeniedError: Kind(403, "admin-denied", "The request may not change the model"),
    errors.ActivationError: Kind(409, "activation-refused", "The version was not activated"),
    errors.ModelNotFoundError: Kind(404, "model-not-found", "There is no such model"),
    errors.InferenceError: Kind(500, "inference-failed", "The model gave no usable answer"),
}
NOT_FOUND: Final = Kind(404, "not-found", "There is nothing at this address")
METHOD_NOT_ALLOWED: Final = Kind(405, "method-not-allowed", "The address takes another method")
INVALID_REQUEST: Final = Kind(422, "invalid-request", "A parameter is missing or wrong")
INTERNAL_ERROR: Final = Kind(500, "internal-error", "Something failed inside the service")
ALL_KINDS: Final = (
    *KIND_BY_ERROR.values(),
    *(NOT_FOUND, METHOD_NOT_ALLOWED, INVALID_REQUEST, INTERNAL_ERROR),
)


def kind_of(error: errors.OsteoError) -> Kind:
    """The kind of a known error; internal where the table has no row for it."""
    return KIND_BY_ERROR.get(type(error), INTERNAL_ERROR)


def problem_of(error: errors.OsteoError, request_id: str) -> Problem:
    """The problem document of an error; the error's data (limits and the like) are extensions."""
    kind = kind_of(error)
    if kind is INTERNAL_ERROR:
        return _problem(kind, "The log of the service says more.", request_id)
    return _problem(kind, str(error), request_id, vars(error))


def openapi_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI fragment of a route that can answer these statuses with a problem."""
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        status: {
            "description": "; ".join(
                f"`{kind.slug}`: {kind.title}" for kind in ALL_KINDS if kind.status == status
            ),
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


def install_handlers(app: FastAPI) -> None:
    """Make every failing route answer one shape."""
    app.add_exception_handler(errors.OsteoError, _on_osteo_error)
    # Starlette's own class, not FastAPI's subclass: the router raises the former for 404 and 405.
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_client_disconnect)
    app.add_exception_handler(Exception, _on_unexpected_error)


def _problem(
    kind: Kind, detail: str, request_id: str, extensions: Mapping[str, Any] | None = None
) -> Problem:
    return Problem(
        type=TYPE_PREFIX + kind.slug,
        title=kind.title,
        status=kind.status,
        detail=detail,
        request_id=request_id,
        **(extensions or {}),
    )


def _response(
    request: Request, problem: Problem, headers: Mapping[str, str] | None = None
) -> Response:
    # For the request's log line and metrics.
    request.state.problem = problem.type.removeprefix(TYPE_PREFIX)
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def problem_response(request: Request, error: errors.OsteoError) -> Response:
    """The answer to a request that failed; what it says goes to the log line and metrics, too."""
    problem = problem_of(error, _request_id(request))
    if problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR and problem.status != 503:
        _logger.error("request_failed", exc_info=error, extra={"request_id": problem.request_id})
    headers = {}
    if isinstance(error, errors.UnavailableError):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", 1))
    if isinstance(error, errors.UploadTimeoutError):
        headers["Connection"] = "close"  # the rest of the body may never come
    return _response(request, problem, headers)


async def _on_osteo_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, errors.OsteoError):  # the registration above says it is one
        raise error
    return problem_response(request, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    kinds = {kind.status: kind for kind in (NOT_FOUND, METHOD_NOT_ALLOWED)}
    status = HTTPStatus(error.status_code)
    kind = kinds.get(status.value, Kind(status.value, f"http-{status.value}", status.phrase))
    detail = f"{request.method} {request.url.path}: {status.phrase}."
    # The headers carry `Allow` for 405.
    return _response(request, _problem(kind, detail, _request_id(request)), error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    problems = [
        {"where": ".".join(str(part) for part in problem["loc"]), "what": problem["msg"]}
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem['where']}: {problem['what']}" for problem in problems)
    document = _problem(INVALID_REQUEST, detail, _request_id(request), {"errors": problems})
    return _response(request, document)


async def _on_client_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_unexpected_error(request: Request, _error: Exception) -> Response:
    # The server logs the exception with its traceback; a client learns nothing of it.
    detail = "The log of the service says more."
    return _response(request, _problem(INTERNAL_ERROR, detail, _request_id(request)))
