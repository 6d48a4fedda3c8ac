"""A request body as a stream within its limits, decompressed if it is compressed with gzip."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Final

from fastapi import Request

from app.core.errors import MalformedRequestError
from app.core.header_errors import ContentCodingError

ACCEPTED_CODINGS: Final = ("gzip",)
_GZIP_NAMES: Final = frozenset({"gzip", "x-gzip"})  # RFC 9110, 8.4.1.3
_GZIP_WINDOW: Final = zlib.MAX_WBITS | 16
_PIECE_BYTES: Final = 256 * 1024  # decompressed between two turns of the event loop: about 1 ms
_MAX_MEMBERS: Final = 64  # an empty one takes 20 bytes, and as long to begin as a large one
_MAX_LENGTH_DIGITS: Final = 20  # any 64-bit number; int() refuses more than 4,300 digits
_MAX_SHOWN: Final = 60  # characters of a header

TakeBytes = Callable[[int], None]
"""Takes bytes from the budget of all uploads; raises `UploadsFullError` if it is exhausted."""


async def limited_body(
    request: Request, limit_bytes: int, too_large: Exception, take: TakeBytes
) -> AsyncIterator[bytes]:
    """The chunks of a body; its size counts as received and as decompressed.

    Raises:
        Exception: `too_large`, once the size or the Content-Length is over the limit.
        ContentCodingError: the body is compressed with something else than gzip.
        MalformedRequestError: Content-Length or gzip stream are wrong.
    """
    gzip = _Gzip() if _is_gzip(request) else None
    if _content_length(request) > limit_bytes:
        raise too_large
    n_received = n_bytes = 0
    async for chunk in request.stream():
        n_received += len(chunk)
        if n_received > limit_bytes:
            raise too_large
        for piece in gzip.pieces(chunk) if gzip else (chunk,):
            n_bytes += len(piece)
            if n_bytes > limit_bytes:
                raise too_large
            take(len(piece))
            yield piece
            if gzip:
                await asyncio.sleep(0)  # a small chunk can become many pieces
    if gzip and not gzip.is_complete:
        raise MalformedRequestError("The gzip stream ends before its end marker.")


class _Gzip:
    """Decompresses a gzip stream of one or more members (RFC 1952)."""

    def __init__(self) -> None:
        self._member = zlib.decompressobj(_GZIP_WINDOW)
        self._n_members = 1

    @property
    def is_complete(self) -> bool:
        """Whether the stream may end here."""
        return self._member.eof

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Decompress what was received, `_PIECE_BYTES` at a time."""
        while data:
            if self._member.eof:
                self._begin_member()
            try:
                piece = self._member.decompress(data, _PIECE_BYTES)
            except zlib.error as error:
                raise MalformedRequestError(
                    "The body is not a valid gzip stream, as its Content-Encoding says."
                ) from error
            data = self._member.unconsumed_tail or self._member.unused_data
            if piece:
                yield piece

    def _begin_member(self) -> None:
        self._n_members += 1
        if self._n_members > _MAX_MEMBERS:
            raise MalformedRequestError(f"The gzip stream has more than {_MAX_MEMBERS} members.")
        self._member = zlib.decompressobj(_GZIP_WINDOW)


def _is_gzip(request: Request) -> bool:
    """Whether the body is compressed with gzip; False if it is not compressed."""
    coding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding in _GZIP_NAMES:
        return True
    if coding in {"", "identity"}:
        return False
    raise ContentCodingError(coding[:_MAX_SHOWN], ACCEPTED_CODINGS)


def _content_length(request: Request) -> int:
    """The size that the headers announce; 0 if they announce none."""
    given = request.headers.get("content-length", "0").strip()
    if len(given) > _MAX_LENGTH_DIGITS or not given.isdecimal():
        what = given if len(given) <= _MAX_LENGTH_DIGITS else f"{len(given)} characters long"
        raise MalformedRequestError(
            f"The Content-Length is {what}; send a number of at most {_MAX_LENGTH_DIGITS} digits."
        )
    return int(given)
