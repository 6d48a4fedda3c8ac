"""Read uploads as a stream; bytes beyond a limit are never stored.

python-multipart parses the forms. Unlike Starlette's form reader, this one spools nothing to disk,
discards a field as soon as it exceeds its limit, and stops at the limit of the body with or without
a Content-Length. A slow upload holds no worker, and its place in the queue expires.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Final

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.core.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    MissingTileError,
    TileError,
    TooManyTilesError,
)
from app.core.tile_errors import TileTooLargeError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

TILE_FIELD: Final = "file"
TILES_FIELD: Final = "files"

_ENVELOPE_BYTES: Final = 64 * 1024  # boundaries, part headers and small fields around one tile
_OTHER_PARTS: Final = 32  # other fields, which clients may add and which are ignored
_PART_HEADER_BYTES: Final = 8 * 1024
_MAX_LENGTH_DIGITS: Final = 20  # any 64-bit number; int() refuses more than 4,300 digits
_MULTIPART: Final = b"multipart/form-data"

TakeBytes = Callable[[int], None]
"""Takes bytes from the budget of all uploads; raises `UploadsFullError` if it is exhausted."""


async def read_tile(request: Request, max_tile_bytes: int, take: TakeBytes) -> bytes:
    """Read the one tile of a request: multipart field `file`, or the body itself.

    Raises:
        UploadsFullError: all uploads together hold too many bytes.
        MissingTileError: the form has no such field.
        TooManyTilesError: the form has several such fields.
        TileTooLargeError: the tile, in a form or as the body, is larger than `max_tile_bytes`.
        MalformedRequestError: the form cannot be parsed.
    """
    boundary = _multipart_boundary(request)
    if boundary is None:
        too_large = TileTooLargeError(max_tile_bytes)
        chunks = [chunk async for chunk in _limited(request, max_tile_bytes, too_large, take)]
        return b"".join(chunks)
    form = _TileForm(TILE_FIELD, max_tile_bytes, 1)
    (tile,) = await _read_form(request, boundary, form, max_tile_bytes + _ENVELOPE_BYTES, take)
    if isinstance(tile, TileError):
        raise tile
    return tile


async def read_tiles(
    request: Request,
    max_tile_bytes: int,
    max_request_bytes: int,
    max_tiles: int,
    take: TakeBytes,
) -> list[bytes | TileError]:
    """Read the tiles of a batch, in the order sent; an error replaces a tile that is too large.

    Raises:
        UploadsFullError: all uploads together hold too many bytes.
        MissingTileError: the body is not a form, or has no field `files`.
        TooManyTilesError: there are more than `max_tiles`.
        BodyTooLargeError: the body is larger than `max_request_bytes`.
        MalformedRequestError: the form cannot be parsed.
    """
    boundary = _multipart_boundary(request)
    if boundary is None:
        raise MissingTileError(TILES_FIELD)
    form = _TileForm(TILES_FIELD, max_tile_bytes, max_tiles)
    return await _read_form(request, boundary, form, max_request_bytes, take)


def _multipart_boundary(request: Request) -> bytes | None:
    """The boundary of a form; None if the body is not a form."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    if content_type != _MULTIPART:
        return None
    boundary = options.get(b"boundary")
    if not boundary:
        raise MalformedRequestError("The Content-Type multipart/form-data has no boundary.")
    return boundary


async def _read_form(
    request: Request, boundary: bytes, form: _TileForm, max_body_bytes: int, take: TakeBytes
) -> list[bytes | TileError]:
    too_large = BodyTooLargeError(max_body_bytes)
    try:
        parser = MultipartParser(boundary, form.callbacks())
        async for chunk in _limited(request, max_body_bytes, too_large, take):
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise MalformedRequestError(f"The form cannot be parsed: {error}.") from error
    if not form.is_complete:
        raise MalformedRequestError("The form ends before its closing boundary.")
    if not form.tiles:
        raise MissingTileError(form.field)
    return form.tiles


async def _limited(
    request: Request, limit_bytes: int, too_large: Exception, take: TakeBytes
) -> AsyncIterator[bytes]:
    """The body's chunks; raises `too_large` once its size or Content-Length is over the limit."""
    if _content_length(request) > limit_bytes:
        raise too_large
    n_bytes = 0
    async for chunk in request.stream():
        n_bytes += len(chunk)
        if n_bytes > limit_bytes:
            raise too_large
        take(len(chunk))
        yield chunk


def _content_length(request: Request) -> int:
    """The size that the headers announce; 0 if they announce none."""
    given = request.headers.get("content-length", "0").strip()
    if len(given) > _MAX_LENGTH_DIGITS or not given.isdecimal():
        what = given if len(given) <= _MAX_LENGTH_DIGITS else f"{len(given)} characters long"
        raise MalformedRequestError(
            f"The Content-Length is {what}; send a number of at most {_MAX_LENGTH_DIGITS} digits."
        )
    return int(given)


class _TileForm:
    """Collects the tiles of one field from a streamed form; other fields are ignored."""

    def __init__(self, field: str, max_tile_bytes: int, max_tiles: int) -> None:
        self.tiles: list[bytes | TileError] = []
        self.is_complete = False
        self.field = field
        self._max_tile_bytes = max_tile_bytes
        self._max_tiles = max_tiles
        self._n_parts = 0
        self._n_header_bytes = 0
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._is_tile = False
        self._tile = bytearray()
        self._is_too_large = False

    def callbacks(self) -> MultipartCallbacks:
        """The parser's callbacks."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._header_name_data,
            "on_header_value": self._header_value_data,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _begin_part(self) -> None:
        self._n_parts += 1
        if self._n_parts > self._max_tiles + _OTHER_PARTS:
            raise MalformedRequestError("The form has too many fields.")
        self._n_header_bytes = 0
        self._is_tile = False
        self._is_too_large = False
        self._tile = bytearray()

    def _header_name_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_name += data[start:end]

    def _header_value_data(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header_value += data[start:end]

    def _count_header(self, n_bytes: int) -> None:
        self._n_header_bytes += n_bytes
        if self._n_header_bytes > _PART_HEADER_BYTES:
            raise MalformedRequestError("The headers of a form field are too long.")

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header_value))
            self._is_tile = options.get(b"name") == self.field.encode()
        self._header_name.clear()
        self._header_value.clear()

    def _begin_data(self) -> None:
        if self._is_tile and len(self.tiles) == self._max_tiles:
            raise TooManyTilesError(self._max_tiles)

    def _data(self, data: bytes, start: int, end: int) -> None:
        if not self._is_tile or self._is_too_large:
            return
        if len(self._tile) + end - start > self._max_tile_bytes:
            self._is_too_large = True
            self._tile = bytearray()
        else:
            self._tile += data[start:end]

    def _end_part(self) -> None:
        if self._is_tile:
            too_large = TileTooLargeError(self._max_tile_bytes)
            self.tiles.append(too_large if self._is_too_large else bytes(self._tile))

    def _end(self) -> None:
        self.is_complete = True
