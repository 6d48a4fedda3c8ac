"""Receive the data of a slide's upload: to disk piece by piece, in memory that does not grow."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Final, TypeVar

from fastapi import Request

from app.api.tus import Checksum
from app.api.upload_pace import UploadPace
from app.core.slide_store_errors import TooManyUploadsError, UploadTooLongError
from app.settings import Settings
from app.slides.storage.upload_writer import UploadWriter

_PIECE_BYTES: Final = 512 * 1024
MAX_RECEIVING: Final = 64
"""Uploads that send data at once; each holds `_PIECE_BYTES` in memory."""
Value = TypeVar("Value")


class SlideBodies:
    """Receives data within the pace of the settings; the whole may take any time."""

    def __init__(self, settings: Settings) -> None:
        """Use the minimum rate of the settings."""
        self._pace = UploadPace(settings, body_timeout_s=math.inf)
        self._n_receiving = 0

    async def receive(
        self, request: Request, writer: UploadWriter, checksum: Checksum | None
    ) -> int:
        """Append the body of a request to an upload.

        If the client disconnects or stalls, what it has sent is kept, unless a checksum was to
        vouch for it.

        Returns:
            The number of bytes that were appended.

        Raises:
            UploadTooLongError: the body is longer than what is missing; nothing is kept.
            UploadChecksumError: it has another digest; nothing is kept.
            SlowUploadError: it arrived too slowly.
            ClientDisconnect: the client disconnected.
            TooManyUploadsError: too many uploads send data now.
            DiskFullError: the disk is full.
        """
        if self._n_receiving >= MAX_RECEIVING:
            raise TooManyUploadsError(MAX_RECEIVING)
        start = writer.offset
        self._n_receiving += 1
        try:
            await self._copy(request.stream(), writer)
            if checksum is not None:
                await _in_thread(lambda: writer.verify(checksum.algorithm, checksum.digest))
            await _in_thread(writer.finish)
        except UploadTooLongError:
            writer.drop_all()
            raise
        except BaseException:
            if checksum is not None:
                writer.drop_all()
            raise
        finally:
            self._n_receiving -= 1
        return writer.offset - start

    async def _copy(self, chunks: AsyncIterator[bytes], writer: UploadWriter) -> None:
        is_over = False
        while not is_over:
            piece = bytearray()
            try:
                # Only the client's time counts: a slow disk must not end its upload.
                async with self._pace.enforce() as count:
                    is_over = await _fill(piece, chunks, count, writer)
            finally:
                if piece:
                    await _in_thread(partial(writer.append, piece))


async def _fill(
    piece: bytearray,
    chunks: AsyncIterator[bytes],
    count: Callable[[int], None],
    writer: UploadWriter,
) -> bool:
    """Add chunks until a piece is full; True if there are no more."""
    async for chunk in chunks:
        if len(piece) + len(chunk) > writer.n_missing:
            raise UploadTooLongError(writer.length)
        count(len(chunk))
        piece += chunk
        if len(piece) >= _PIECE_BYTES:
            return False
    return True


async def _in_thread(work: Callable[[], Value]) -> Value:
    """Work in a thread; if the request is cancelled, wait: the file must stay open until then."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait((task,))
        raise
