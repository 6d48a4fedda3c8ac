"""JPEG: the frame header, and what its components mean (ITU-T T.81, JFIF 1.02, Adobe 5116)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from app.core.tile_errors import CorruptTileError, PixelFormatError

_BASELINE, _EXTENDED, _PROGRESSIVE = 0xC0, 0xC1, 0xC2
FRAMES: Final = frozenset({_BASELINE, _EXTENDED, _PROGRESSIVE})
OTHER_FRAMES: Final = {
    0xC3: "lossless JPEG",
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xDE), "hierarchical JPEG"),
    **dict.fromkeys((0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF), "arithmetic-coded JPEG"),
    0xF7: "JPEG-LS",
}
"""Frames that are not decoded, by marker. 0xC4, 0xC8 and 0xCC are tables."""

_MAX_SAMPLING: Final = 4
_ADOBE_RGB, _ADOBE_YCBCR, _ADOBE_CMYK, _ADOBE_YCCK = 0, 1, 0, 2


@dataclass(frozen=True, slots=True)
class Frame:
    """The frame header.

    Attributes:
        width_px, height_px: as encoded, before any EXIF orientation.
        is_progressive: whether its scans add to each other.
        component_ids: 1, 2 and 3 for most pictures.
    """

    width_px: int
    height_px: int
    is_progressive: bool
    component_ids: tuple[int, ...]


def read_frame(marker: int, data: bytes) -> Frame:
    """Read a frame header.

    Args:
        marker: one of `FRAMES`.
        data: the segment behind its length.

    Raises:
        CorruptTileError: it is too short, or states impossible numbers.
        PixelFormatError: not 8 bits a sample; a height that comes behind the first scan;
            subsampling that is no whole number.
    """
    try:
        precision, height_px, width_px, n_components = struct.unpack_from(">BHHB", data)
        components = [struct.unpack_from("BB", data, 6 + 3 * i) for i in range(n_components)]
    except struct.error:
        raise CorruptTileError("JPEG") from None
    if precision != 8:
        raise PixelFormatError(f"{precision}-bit JPEG")
    if height_px == 0:
        raise PixelFormatError("JPEG whose height is stated behind the first scan")
    _require_whole_subsampling([factors for _, factors in components])
    component_ids = tuple(id_ for id_, _ in components)
    return Frame(width_px, height_px, marker == _PROGRESSIVE, component_ids)


def _require_whole_subsampling(sampling: list[int]) -> None:
    """Check the sampling factors, horizontal in the upper half of each byte."""
    for factors in ([byte >> 4 for byte in sampling], [byte & 15 for byte in sampling]):
        if not all(1 <= factor <= _MAX_SAMPLING for factor in factors):
            raise CorruptTileError("JPEG")
        if any(max(factors) % factor for factor in factors):
            raise PixelFormatError("JPEG with fractional subsampling")


def require_known_colours(frame: Frame, has_jfif: bool, adobe_transform: int | None) -> None:
    """Check that the file says what its components mean.

    Without a JFIF or Adobe segment three components are RGB if their ids say so, else YCbCr, as
    libjpeg decides. Four components without an Adobe segment may be inverted or not.

    Args:
        frame: the frame header.
        has_jfif: whether there is a JFIF segment, which allows grey and YCbCr alone.
        adobe_transform: of the Adobe segment; None without one.

    Raises:
        PixelFormatError: it does not.
    """
    n_components = len(frame.component_ids)
    known: dict[int, tuple[int | None, ...]] = {
        1: (adobe_transform,),
        3: (adobe_transform,) if has_jfif else (None, _ADOBE_RGB, _ADOBE_YCBCR),
        4: (_ADOBE_CMYK, _ADOBE_YCCK),
    }
    if n_components not in known:
        raise PixelFormatError(f"JPEG of {n_components} components")
    if adobe_transform not in known[n_components]:
        stated = (
            "without an Adobe segment"
            if adobe_transform is None
            else f"with Adobe transform {adobe_transform}"
        )
        raise PixelFormatError(f"JPEG of {n_components} components {stated}")
