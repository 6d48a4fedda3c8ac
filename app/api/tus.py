"""Headers of the tus protocol for resumable uploads, version 1.0.0 (https://tus.io)."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from email.utils import format_datetime
from typing import Final

from starlette.datastructures import Headers

from app.core.header_errors import ContentCodingError, MediaTypeError
from app.core.slide_store_errors import InvalidUploadError, TusVersionError
from app.slides.storage.upload_writer import CHECKSUM_ALGORITHMS, Upload

VERSION: Final = "1.0.0"
EXTENSIONS: Final = ("creation", "creation-with-upload", "expiration", "termination", "checksum")
CHUNK_TYPE: Final = "application/offset+octet-stream"
TUS_REQUEST_HEADERS: Final = (
    *("Tus-Resumable", "Upload-Checksum", "Upload-Length", "Upload-Metadata", "Upload-Offset"),
    "X-HTTP-Method-Override",
)
TUS_ANSWER_HEADERS: Final = (
    *("Tus-Checksum-Algorithm", "Tus-Extension", "Tus-Max-Size", "Tus-Resumable", "Tus-Version"),
    *("Upload-Expires", "Upload-Length", "Upload-Offset"),
)
_MAX_DIGITS: Final = 15


@dataclass(frozen=True, slots=True)
class Checksum:
    """What a client says about the data of one request.

    Attributes:
        algorithm: one of `CHECKSUM_ALGORITHMS`.
        digest: of the data.
    """

    algorithm: str
    digest: bytes


def require_version(headers: Headers) -> None:
    """Refuse a client of another version; one that names none is taken as one of this.

    Raises:
        TusVersionError: the client speaks another version.
    """
    if headers.get("tus-resumable", VERSION).strip() != VERSION:
        raise TusVersionError(VERSION)


def require_chunk(headers: Headers) -> None:
    """Check what the headers announce about the data of a PATCH.

    Raises:
        MediaTypeError: it is not announced as a part of an upload.
        ContentCodingError: it is compressed, so that offsets would not be those of the file.
    """
    require_plain(headers)
    media_type = headers.get("content-type", "").split(";")[0].strip().lower()
    if media_type != CHUNK_TYPE:
        shown = media_type[:60].encode("ascii", "replace").decode()
        raise MediaTypeError(shown, (CHUNK_TYPE,), "Announce the data of a PATCH with this type.")


def require_plain(headers: Headers) -> None:
    """Refuse compressed data.

    Raises:
        ContentCodingError: it is compressed, so that offsets would not be those of the file.
    """
    coding = headers.get("content-encoding", "").strip().lower()
    if coding not in {"", "identity"}:
        raise ContentCodingError(coding[:60], ("identity",))


def upload_length(headers: Headers) -> int:
    """The length of an upload that is being created.

    Raises:
        InvalidUploadError: it is missing or is not a number of at least 1.
    """
    if "upload-defer-length" in headers:
        raise InvalidUploadError(
            "Upload-Defer-Length is not supported, since the quota is asked before data is "
            "accepted. Send Upload-Length."
        )
    return _number(headers, "upload-length", 1)


def upload_offset(headers: Headers) -> int:
    """The offset at which the data of a PATCH begins.

    Raises:
        InvalidUploadError: it is missing or is not a number of at least 0.
    """
    return _number(headers, "upload-offset", 0)


def content_length(headers: Headers) -> int | None:
    """The size of a body that the headers announce; None if they announce none.

    Raises:
        InvalidUploadError: it is not a number.
    """
    return _number(headers, "content-length", 0) if "content-length" in headers else None


def content_range(headers: Headers) -> tuple[int, int] | None:
    """Offset and length of a PUT that goes on with an upload (RFC 9110, 14.4); None without.

    Raises:
        InvalidUploadError: the header is not `bytes FIRST-LAST/LENGTH`.
    """
    text = headers.get("content-range")
    if text is None:
        return None
    unit, _, rest = text.strip().partition(" ")
    span, _, length = rest.partition("/")
    first, _, last = span.partition("-")
    numbers = (first, last, length)
    if unit.lower() == "bytes" and all(map(_is_number, numbers)):
        start, end, total = map(int, numbers)
        if start <= end < total:
            return start, total
    raise InvalidUploadError("Content-Range must be as in bytes 1000-1999/2000.")


def upload_checksum(headers: Headers) -> Checksum | None:
    """The digest of the data of one request; None if the client sends none.

    Raises:
        InvalidUploadError: the algorithm is not supported, or the digest is not in Base64.
    """
    text = headers.get("upload-checksum")
    if text is None:
        return None
    algorithm, _, digest = text.strip().partition(" ")
    if algorithm not in CHECKSUM_ALGORITHMS:
        raise InvalidUploadError(
            f"The algorithm of Upload-Checksum must be one of {', '.join(CHECKSUM_ALGORITHMS)}."
        )
    try:
        return Checksum(algorithm, base64.b64decode(digest, validate=True))
    except (binascii.Error, ValueError):
        raise InvalidUploadError("The digest in Upload-Checksum is not Base64.") from None


def upload_headers(upload: Upload, expires: datetime) -> dict[str, str]:
    """What an answer says about an upload."""
    return {
        "Tus-Resumable": VERSION,
        "Upload-Offset": str(upload.offset),
        "Upload-Length": str(upload.length),
        "Upload-Expires": format_datetime(expires, usegmt=True),
    }


def options_headers(max_bytes: int) -> dict[str, str]:
    """What the service says about itself."""
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": ",".join(EXTENSIONS),
        "Tus-Max-Size": str(max_bytes),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUM_ALGORITHMS),
    }


def _number(headers: Headers, name: str, least: int) -> int:
    shown = name.title()
    values = headers.getlist(name)
    if len(values) != 1:
        raise InvalidUploadError(f"Send {shown} once; it came {len(values)} times.")
    text = values[0].strip()
    if not _is_number(text) or int(text) < least:
        raise InvalidUploadError(
            f"{shown} must be a number of bytes, at least {least}, with at most {_MAX_DIGITS} "
            "digits."
        )
    return int(text)


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
