"""Read uploads as a stream; bytes beyond a limit are never stored.

Reading stops at the limit of the body with or without a Content-Length. A slow upload holds no
worker, and its place in the queue expires.
"""

from __future__ import annotations

from typing import Final

from fastapi import Request

from app.api.body import TakeBytes, limited_body
from app.api.media_types import form_boundary, require_file, require_form
from app.api.tile_form import ReceivedTile, TileForm
from app.core.errors import BodyTooLargeError, MissingTileError, TileError
from app.core.tile_errors import TileTooLargeError

TILE_FIELD: Final = "file"
TILES_FIELD: Final = "files"

_ENVELOPE_BYTES: Final = 64 * 1024  # boundaries, part headers and small fields around one tile


async def read_tile(request: Request, max_tile_bytes: int, take: TakeBytes) -> bytes:
    """Read the one tile of a request: multipart field `file`, or the body itself.

    Raises:
        UploadsFullError: all uploads together hold too many bytes.
        MediaTypeError: the header announces neither a form nor a file.
        ContentCodingError: the body is compressed with something else than gzip.
        MissingTileError: the form has no such field.
        TooManyTilesError: the form has several such fields.
        TileTooLargeError: the tile, in a form or as the body, is larger than `max_tile_bytes`.
        TextTileError: the field is text.
        MalformedRequestError: the form or the gzip stream cannot be read.
    """
    boundary = form_boundary(request, TILE_FIELD)
    if boundary is None:
        too_large = TileTooLargeError(max_tile_bytes)
        chunks = [chunk async for chunk in limited_body(request, max_tile_bytes, too_large, take)]
        tile_bytes = b"".join(chunks)
        require_file(request, tile_bytes, TILE_FIELD)
        return tile_bytes
    form = TileForm(boundary, TILE_FIELD, max_tile_bytes, 1)
    (tile,) = await _read_form(request, form, max_tile_bytes + _ENVELOPE_BYTES, take)
    if isinstance(tile.content, TileError):
        raise tile.content
    return tile.content


async def read_tiles(
    request: Request,
    max_tile_bytes: int,
    max_request_bytes: int,
    max_tiles: int,
    take: TakeBytes,
) -> list[ReceivedTile]:
    """Read the tiles of a batch, in the order sent; an error replaces a tile that is too large.

    Raises:
        UploadsFullError: all uploads together hold too many bytes.
        MediaTypeError: the header announces something else than a form.
        ContentCodingError: the body is compressed with something else than gzip.
        MissingTileError: the body is not a form, or has no field `files`.
        TooManyTilesError: there are more than `max_tiles`.
        BodyTooLargeError: the body is larger than `max_request_bytes`.
        MalformedRequestError: the form or the gzip stream cannot be read.
    """
    boundary = require_form(request, TILES_FIELD)
    if boundary is None:
        raise MissingTileError(TILES_FIELD)
    form = TileForm(boundary, TILES_FIELD, max_tile_bytes, max_tiles)
    return await _read_form(request, form, max_request_bytes, take)


async def _read_form(
    request: Request, form: TileForm, max_body_bytes: int, take: TakeBytes
) -> list[ReceivedTile]:
    too_large = BodyTooLargeError(max_body_bytes)
    async for chunk in limited_body(request, max_body_bytes, too_large, take):
        form.write(chunk)
    return form.finish()
