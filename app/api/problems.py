"""Errors as RFC 9457 `application/problem+json`: one table from error code to HTTP status."""

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
from starlette.types import Scope

from app.api.answer_headers import add_answer_headers
from app.api.request_context import request_context
from app.api.unrouted import (
    allowed_methods,
    describe_unknown_path,
    describe_wrong_method,
    methods_of,
)
from app.core.access_errors import (
    CredentialsInvalidError,
    ScopeMissingError,
    UnauthenticatedError,
)
from app.core.errors import OsteoError, UnavailableError, UploadTimeoutError
from app.core.header_errors import ContentCodingError, MediaTypeError
from app.core.slide_errors import JobsUnavailableError
from app.core.slide_store_errors import TusVersionError
from app.telemetry.logs import LOGGER_NAME

MEDIA_TYPE: Final = "application/problem+json"
TYPE_PREFIX: Final = "/problems/"
CLIENT_CLOSED_REQUEST: Final = 499
"""nginx's status for a client that disconnected; it appears in logs and metrics only."""

_logger = logging.getLogger(LOGGER_NAME)


class Problem(BaseModel):
    """RFC 9457 problem details; `docs/problems.md` explains every `type`."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Identifies the kind of problem; programs rely on it.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status; in a batch, that of the tile on its own.")
    detail: str = Field(description="What is wrong, for people; the wording may change.")
    request_id: str = Field(description="From the header `X-Request-ID`, or generated.")


@dataclass(frozen=True, slots=True)
class ProblemType:
    """What all problems with one code have in common."""

    code: str
    status: int
    title: str


PROBLEM_TYPES: Final[Mapping[str, ProblemType]] = {
    code: ProblemType(code, status, title)
    for code, (status, title) in {
        "empty-tile": (422, "Empty tile"),
        "tile-too-large": (413, "Tile has too many bytes"),
        "too-many-pixels": (413, "Image has too many pixels"),
        "tile-too-small": (422, "Image is too small"),
        "too-many-frames": (422, "File holds several images"),
        "unsupported-format": (415, "Unsupported image format"),
        "too-many-scans": (422, "JPEG has too many scans"),
        "too-many-segments": (422, "File has too many parts"),
        "decode-budget": (422, "Image costs too much to decode"),
        "unsupported-pixels": (422, "Unsupported pixel format"),
        "corrupt-tile": (422, "Image is damaged"),
        "malformed-request": (400, "Malformed request body"),
        "missing-tile": (422, "No tile in the request"),
        "text-instead-of-file": (422, "Text instead of a file"),
        "unsupported-media-type": (415, "Unsupported media type"),
        "unsupported-encoding": (415, "Unsupported content encoding"),
        "invalid-request-id": (400, "Invalid request id"),
        "origin-denied": (403, "Origin is not allowed"),
        "too-many-tiles": (413, "Too many tiles in one request"),
        "body-too-large": (413, "Request body is too large"),
        "unknown-label": (422, "Unknown label"),
        "explanation-unavailable": (422, "Explanation unavailable"),
        "upload-timeout": (408, "Upload timed out"),
        "not-ready": (503, "Service is not ready"),
        "queue-full": (429, "Queue is full"),
        "uploads-full": (429, "Too many bytes in upload"),
        "deadline-exceeded": (503, "Deadline exceeded"),
        "out-of-memory": (503, "Too little memory"),
        "credentials-missing": (401, "Caller is unknown"),
        "credentials-invalid": (401, "Key, token or certificate is wrong"),
        "scope-missing": (403, "Caller lacks the scope"),
        "rate-limited": (429, "Rate limit is used up"),
        "identity-provider-unavailable": (503, "Identity provider is unavailable"),
        "audit-unavailable": (503, "Audit is unavailable"),
        "activation-refused": (409, "Version was not activated"),
        "model-not-found": (404, "Model not found"),
        "inference-failed": (500, "Inference failed"),
        "invalid-upload": (400, "Headers of the upload are wrong"),
        "upload-not-found": (404, "Upload not found"),
        "upload-offset": (409, "Data begins at the wrong offset"),
        "upload-incomplete": (409, "Upload is incomplete"),
        "tus-version": (412, "Version of tus is not supported"),
        "upload-too-long": (413, "More data than announced"),
        "upload-busy": (423, "Upload is in use"),
        "upload-checksum": (460, "Data differs from its checksum"),
        "too-many-uploads": (429, "Too many uploads"),
        "slides-full": (507, "Quota of slides is used up"),
        "disk-full": (507, "Disk is full"),
        "slide-path": (422, "No slide at this path"),
        "unsupported-slide": (422, "Not a slide that can be used"),
        "corrupt-slide": (422, "Slide is damaged"),
        "slide-too-large": (413, "Slide is too large"),
        "slide-resolution": (422, "Resolution of the slide is unknown"),
        "slide-reader": (422, "Slide cannot be read"),
        "slide-changed": (409, "Slide has changed"),
        "slide-not-found": (404, "Slide not found"),
        "slide-exists": (409, "Slide is known with another resolution"),
        "slide-in-use": (409, "Slide is in use"),
        "slide-archive": (502, "DICOMweb server failed"),
        "series-not-found": (404, "Series not found"),
        "slide-readers-busy": (429, "Too many requests for pixels"),
        "zoom-tile-not-found": (404, "No such tile of the picture"),
        "job-not-found": (404, "Job not found"),
        "job-state": (409, "Job has not succeeded"),
        "result-not-found": (404, "Result not found"),
        "specimen-mixed": (422, "Slides cannot be summed"),
        "too-many-jobs": (429, "Too many jobs wait"),
        "too-many-streams": (429, "Too many streams of events"),
        "slide-store-unavailable": (503, "Folder of slides is unavailable"),
        "jobs-unavailable": (503, "Jobs are unavailable"),
        "extra-missing": (501, "An optional package is missing"),
        "not-found": (404, "Not found"),
        "method-not-allowed": (405, "Method not allowed"),
        "invalid-request": (422, "Invalid request parameter"),
        "internal-error": (500, "Internal error"),
    }.items()
}
_CHALLENGE: Final = 'Bearer realm="osteo-tiles"'  # RFC 6750, section 3
_INTERNAL_ERROR: Final = PROBLEM_TYPES["internal-error"]
_INTERNAL_DETAIL: Final = "The service's log has the details."


def problem_of(error: OsteoError, request_id: str) -> Problem:
    """The problem document of an error, with the error's data as extension members."""
    problem_type = PROBLEM_TYPES.get(error.code, _INTERNAL_ERROR)
    if problem_type is _INTERNAL_ERROR:
        return _problem(problem_type, _INTERNAL_DETAIL, request_id)
    data = {name: value for name, value in vars(error).items() if name not in _private(error)}
    return _problem(problem_type, str(error), request_id, data)


def _private(error: OsteoError) -> tuple[str, ...]:
    """Data of an error that is for the log: how the database of jobs failed names machines."""
    return ("reason",) if isinstance(error, JobsUnavailableError) else ()


def install_handlers(app: FastAPI) -> None:
    """Make every failing route answer with a problem."""
    app.add_exception_handler(OsteoError, _on_osteo_error)
    # Starlette's class, not FastAPI's subclass: the router raises the former for 404 and 405.
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(ClientDisconnect, _on_client_disconnect)
    app.add_exception_handler(Exception, _on_unexpected_error)


def problem_response(scope: Scope, error: OsteoError) -> Response:
    """The response to a request that failed with an error."""
    problem = problem_of(error, request_context(scope).request_id)
    if problem.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _logger.error("request_failed", exc_info=error, extra={"request_id": problem.request_id})
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = str(getattr(error, "retry_after_s", 1))
    if isinstance(error, MediaTypeError):
        headers["Accept"] = ", ".join(error.accepted)
    if isinstance(error, TusVersionError):
        headers["Tus-Version"] = error.supported
    if isinstance(error, ContentCodingError):
        headers["Accept-Encoding"] = ", ".join(error.accepted)
    if isinstance(error, UnauthenticatedError):
        invalid = isinstance(error, CredentialsInvalidError)
        headers["WWW-Authenticate"] = _CHALLENGE + (', error="invalid_token"' if invalid else "")
    if isinstance(error, ScopeMissingError):
        headers["WWW-Authenticate"] = (
            f'{_CHALLENGE}, error="insufficient_scope", scope="{error.scope}"'
        )
    if isinstance(error, UploadTimeoutError):
        headers["Connection"] = "close"  # the rest of the body may never arrive
    return _response(scope, problem, headers)


def _problem(
    problem_type: ProblemType,
    detail: str,
    request_id: str,
    extensions: Mapping[str, Any] | None = None,
) -> Problem:
    return Problem(
        type=TYPE_PREFIX + problem_type.code,
        title=problem_type.title,
        status=problem_type.status,
        detail=detail,
        request_id=request_id,
        **(extensions or {}),
    )


def _response(scope: Scope, problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    request_context(scope).problem_code = problem.type.removeprefix(TYPE_PREFIX)
    return Response(
        problem.model_dump_json(),
        status_code=problem.status,
        media_type=MEDIA_TYPE,
        headers=dict(headers or {}),
    )


async def _on_osteo_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, OsteoError):  # for mypy: Starlette's handlers take any exception
        raise error
    return problem_response(request.scope, error)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    request_id = request_context(request.scope).request_id
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail, nearest = describe_unknown_path(request, map(TYPE_PREFIX.__add__, PROBLEM_TYPES))
        problem = _problem(PROBLEM_TYPES["not-found"], detail, request_id, nearest)
        return _response(request.scope, problem, error.headers)
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        known = methods_of(request.scope["path"], request.app.state.methods_by_path)
        allowed = allowed_methods(", ".join([(error.headers or {}).get("Allow", ""), *known]))
        detail = describe_wrong_method(request, allowed)
        problem = _problem(PROBLEM_TYPES["method-not-allowed"], detail, request_id)
        return _response(request.scope, problem, {"Allow": allowed})
    status = HTTPStatus(error.status_code)  # no route of ours raises another
    problem = Problem(
        type="about:blank",  # RFC 9457, 4.2.1: the status says it all, so there is no page
        title=status.phrase,
        status=status.value,
        detail=f"{status.phrase}.",
        request_id=request_id,
    )
    return _response(request.scope, problem, error.headers)


async def _on_validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    errors = [
        {"where": ".".join(str(part) for part in problem["loc"]), "what": problem["msg"]}
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem['where']}: {problem['what']}" for problem in errors)
    request_id = request_context(request.scope).request_id
    problem_type = PROBLEM_TYPES["invalid-request"]
    return _response(request.scope, _problem(problem_type, detail, request_id, {"errors": errors}))


async def _on_client_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _on_unexpected_error(request: Request, _error: Exception) -> Response:
    # The server logs the exception with its traceback; nothing of it goes to the client. The
    # connection is closed after the answer, which has to say so: an ingress would reuse it for
    # another client. Starlette answers outside of the middleware that adds the headers of all.
    context = request_context(request.scope)
    problem = _problem(_INTERNAL_ERROR, _INTERNAL_DETAIL, context.request_id)
    response = _response(request.scope, problem, {"Connection": "close"})
    add_answer_headers(request.scope, response.headers)
    return response
