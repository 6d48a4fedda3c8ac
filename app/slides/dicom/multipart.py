"""The DICOM file in an answer of a DICOMweb server, in parts of any size (RFC 2046, section 5.1).

dicomweb-client collects an instance in memory; the largest level of a slide has gigabytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from email.message import Message
from typing import Final

from app.core.slide_errors import SlideArchiveError

_MAX_HEADER_BYTES: Final = 16 * 1024
_UNREADABLE: Final = "its answer is not what DICOMweb's rules say."


def dicom_file(content_type: str, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The file that an answer for one instance holds.

    Args:
        content_type: of the answer: multipart with one part, or the file itself.
        chunks: its body.

    Yields:
        Pieces of the file.

    Raises:
        SlideArchiveError: another kind of answer, one that ends early, or has no part.
    """
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_type() == "application/dicom":
        yield from chunks
        return
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/related" or not boundary:
        raise SlideArchiveError(_UNREADABLE)
    yield from _first_part(boundary.encode("latin-1", "replace"), iter(chunks))


def _first_part(boundary: bytes, chunks: Iterator[bytes]) -> Iterator[bytes]:
    end = b"\r\n--" + boundary
    # The first boundary may come without a line before it.
    held = b"\r\n"
    start = -1
    while start < 0:
        held += _next(chunks)
        opening = held.find(end)
        start = held.find(b"\r\n\r\n", opening + len(end)) if opening >= 0 else -1
        if start < 0 and len(held) > _MAX_HEADER_BYTES:
            raise SlideArchiveError(_UNREADABLE)
    held = held[start + 4 :]
    while (at := held.find(end)) < 0:
        # What may be the beginning of a boundary is kept until more is known.
        keep = min(len(held), len(end) - 1)
        yield held[: len(held) - keep]
        held = held[len(held) - keep :] + _next(chunks)
    yield held[:at]
    for _ in chunks:  # so that the connection can be used again
        pass


def _next(chunks: Iterator[bytes]) -> bytes:
    try:
        return next(chunks)
    except StopIteration:
        raise SlideArchiveError("its answer ends early.") from None
