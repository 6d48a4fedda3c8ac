"""The JSON bodies of the routes of slides: small, and checked before they are parsed again."""

from __future__ import annotations

import json
from typing import Final

from fastapi import Request
from starlette.types import Message

from app.api.body import limited_body
from app.core.errors import BodyTooLargeError, MalformedRequestError

MAX_JSON_BYTES: Final = 64 * 1024
"""More than 500 ids of jobs, the longest body that a route takes."""
JSON_PROBLEMS: Final = ("malformed-request", "body-too-large", "unsupported-encoding")
"""Problems of every route that takes JSON."""


async def with_checked_json(request: Request) -> Request:
    """The same request, whose body was received within the limit and can be parsed.

    A body that is simply no JSON stays: FastAPI tells where it goes wrong.

    Raises:
        BodyTooLargeError: the body has more than `MAX_JSON_BYTES`.
        ContentCodingError: it is compressed with something else than gzip.
        MalformedRequestError: Python cannot parse it, although it may be JSON.
    """
    body = bytearray()
    too_large = BodyTooLargeError(MAX_JSON_BYTES)
    async for piece in limited_body(request, MAX_JSON_BYTES, too_large, _take_nothing):
        body += piece
    # FastAPI parses what is announced as JSON, and nothing else.
    if _is_json(request.headers.get("content-type", "")):
        _require_parsable(bytes(body))
    is_read = False

    async def receive() -> Message:
        nonlocal is_read
        if is_read:
            return await request.receive()
        is_read = True
        return {"type": "http.request", "body": bytes(body), "more_body": False}

    return Request(request.scope, receive)


def _is_json(content_type: str) -> bool:
    media_type = content_type.split(";", maxsplit=1)[0].strip().lower()
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def _require_parsable(body: bytes) -> None:
    try:
        json.loads(body)
    except json.JSONDecodeError:
        return
    except RecursionError:
        raise MalformedRequestError("The JSON body is nested too deeply.") from None
    except UnicodeDecodeError:
        raise MalformedRequestError("The JSON body is not valid UTF-8.") from None
    except ValueError:
        raise MalformedRequestError("The JSON body has a number with too many digits.") from None


def _take_nothing(_n_bytes: int) -> None:
    """The budget of uploads is for tiles; a body here is hardly larger than its headers."""
