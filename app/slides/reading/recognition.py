"""What a file is by its first bytes, and why one is no slide."""

from __future__ import annotations

from typing import Final

from app.core.slide_errors import SlideFormatError
from app.slides.reading.tiff_directories import is_tiff

HEAD_BYTES: Final = 132
_DICOM_AT, _DICOM = 128, b"DICM"
_KINDS_BY_MAGIC: Final = {
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"GIF8": "a GIF image",
    b"RIFF": "a WebP image or another RIFF file",
    b"%PDF": "a PDF document",
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"\x1f\x8b": "a gzip archive; unpack it",
}
_ONE_FILE_MAGIC: Final = (b"ZISRAWFILE", b"SQLite format 3\0")
"""Zeiss CZI and Sakura SVSLIDE; the others that need no further file are TIFF."""


def is_dicom_file(head: bytes) -> bool:
    """Whether a file that begins with these bytes is DICOM (PS3.10, section 7.1)."""
    return head[_DICOM_AT:HEAD_BYTES] == _DICOM


def require_slide(head: bytes, vendor: str | None) -> str:
    """Check that OpenSlide knows the format.

    Args:
        head: the first `HEAD_BYTES` of the file.
        vendor: what OpenSlide takes it for; None if it does not know it.

    Returns:
        The vendor.

    Raises:
        SlideFormatError: it does not; the reason says what the file seems to be.
    """
    if vendor is not None:
        return vendor
    if not head:
        raise SlideFormatError("it is empty.")
    for magic, kind in _KINDS_BY_MAGIC.items():
        if head.startswith(magic):
            raise SlideFormatError(f"it is {kind}.")
    raise SlideFormatError(
        "OpenSlide does not know its format. Formats that it reads are Aperio SVS, Hamamatsu NDPI, "
        "Leica SCN, MIRAX, Philips TIFF, Ventana BIF, Zeiss CZI, DICOM and tiled TIFF."
    )


def require_one_file(head: bytes) -> None:
    """Check that a file names no other files, which a reader would open beside it.

    Raises:
        SlideFormatError: it may, as those of MIRAX and Hamamatsu VMS do.
    """
    if not is_tiff(head) and not head.startswith(_ONE_FILE_MAGIC):
        raise SlideFormatError(
            "formats of several files are read only from a folder that the service has mounted."
        )
