"""Which TIFF pixels are read, decided by tags before anything is decoded: an allow-list.

Two readers may show different pictures for one file if a tag is rare. So a combination is read only
if it is listed here, and `tests/core/formats/test_tiff_combinations.py` compares each of them with
an independent reader. Everything else is refused with the name of what the file holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from app.core.errors import counted
from app.core.formats import tiff_tags as t
from app.core.formats.ifd import Tags
from app.core.tile_errors import CorruptTileError, PixelFormatError

_HORIZONTAL_PREDICTOR: Final = 2
_LOSSLESS: Final = frozenset({
    *(t.NO_COMPRESSION, t.LZW, t.DEFLATE, t.OLD_DEFLATE, t.PACKBITS, t.LZMA, t.ZSTD),
})  # fmt: skip
_WITH_PREDICTOR: Final = _LOSSLESS - {t.NO_COMPRESSION, t.PACKBITS}
_N_COLOURS: Final = {t.WHITE_IS_ZERO: 1, t.BLACK_IS_ZERO: 1, t.RGB: 3, t.PALETTE: 1, t.CMYK: 4}
_JPEG_N_COLOURS: Final = {t.WHITE_IS_ZERO: 1, t.BLACK_IS_ZERO: 1, t.RGB: 3, t.YCBCR: 3}
_REQUIRED_VALUES: Final = {
    t.FILL_ORDER: (1, "bits in reversed order"),
    t.IMAGE_DEPTH: (1, "a volume"),
    t.TILE_DEPTH: (1, "a volume"),
    t.INDEXED: (0, "colours by index"),
    t.INK_SET: (1, "inks other than CMYK"),
}
"""Tags that are read by few decoders: the value, also the default, that all of them agree on."""
_BT601_PER_MILLE: Final = (299, 587, 114)


class Alpha(IntEnum):
    """What the sample behind the colours means; the numbers are those of ExtraSamples."""

    NONE = -1
    UNSPECIFIED = 0
    ASSOCIATED = 1
    UNASSOCIATED = 2


@dataclass(frozen=True, slots=True)
class Samples:
    """What the numbers of a pixel mean.

    Attributes:
        n_samples: colours, and at most one more.
        n_bytes: of a sample, 1 or 2.
        byte_order: `<` or `>`.
        photometric: one of the numbers in `tiff_tags`.
        is_planar: whether each sample has a plane of its own.
        has_predictor: whether samples are differences from the pixel to their left.
        palette: the 3 x 256 16-bit values of the tag ColorMap; empty if there is no palette.
    """

    n_samples: int
    n_bytes: int
    byte_order: str
    photometric: int
    alpha: Alpha
    compression: int
    is_planar: bool
    has_predictor: bool
    palette: tuple[int, ...]
    jpeg_tables: bytes

    @property
    def n_interleaved(self) -> int:
        """Samples of a pixel that lie beside each other."""
        return 1 if self.is_planar else self.n_samples

    @property
    def n_planes(self) -> int:
        """Planes that are stored one behind the other."""
        return self.n_samples if self.is_planar else 1


def read_samples(tags: Tags, byte_order: str) -> Samples:
    """Decide whether pixels of this kind are read.

    Args:
        tags: of `tiff_tags.OF_PIXELS`.
        byte_order: `<` or `>`.

    Raises:
        PixelFormatError: they are not; it names what the file holds.
        CorruptTileError: a tag that must have one value has none or several.
    """
    compression = _compression(tags)
    for tag, (value, found) in _REQUIRED_VALUES.items():
        if one(tags, tag, value) != value:
            raise _unsupported(found)
    n_samples = one(tags, t.SAMPLES_PER_PIXEL, 1)
    n_bits = _bits(tags, n_samples, is_jpeg=compression == t.JPEG)
    planar = one(tags, t.PLANAR, 1)
    if planar not in (1, 2):
        raise _unsupported(f"planar configuration {planar}")
    photometric, alpha = _colours(tags, n_samples, is_jpeg=compression == t.JPEG)
    if photometric == t.YCBCR and planar != 1:
        raise _unsupported("YCbCr pixels in separate planes")
    predictor = one(tags, t.PREDICTOR, 1)
    if predictor != 1 and (predictor, compression) not in _PREDICTORS:
        raise _unsupported(f"predictor {predictor} for this compression or these pixels")
    _require_full_range(tags, photometric, n_bits)
    return Samples(
        n_samples,
        n_bits // 8,
        byte_order,
        photometric,
        alpha,
        compression,
        planar != 1,
        predictor == _HORIZONTAL_PREDICTOR,
        _palette(tags, n_bits) if photometric == t.PALETTE else (),
        bytes(tags.get(t.JPEG_TABLES, ())),
    )


_PREDICTORS: Final = frozenset((_HORIZONTAL_PREDICTOR, number) for number in _WITH_PREDICTOR)


def one(tags: Tags, tag: int, default: int | None = None) -> int:
    """The only value of a tag.

    Raises:
        CorruptTileError: there are several, or none and no default.
    """
    values = tags.get(tag) or (() if default is None else (default,))
    if len(values) != 1:
        raise CorruptTileError("TIFF")
    return values[0]


def _unsupported(found: str) -> PixelFormatError:
    return PixelFormatError(f"TIFF with {found}")


def _compression(tags: Tags) -> int:
    compression = one(tags, t.COMPRESSION, t.NO_COMPRESSION)
    if compression not in _LOSSLESS and compression != t.JPEG:
        name = t.COMPRESSION_NAMES.get(compression, f"data of compression {compression}")
        raise _unsupported(f"{name} inside")
    return compression


def _bits(tags: Tags, n_samples: int, *, is_jpeg: bool) -> int:
    formats = set(tags.get(t.SAMPLE_FORMAT, ()))
    bits = tags.get(t.BITS) or (1,)  # the default of TIFF 6.0
    n_bits = bits[0]
    for number, name in t.SAMPLE_FORMAT_NAMES.items():
        if number in formats:
            raise _unsupported(f"{n_bits}-bit {name} pixels")
    if len(set(bits)) != 1 or len(bits) not in (1, n_samples):
        listed = ", ".join(map(str, bits[:8]))
        raise _unsupported(f"{counted(n_samples, 'channel')} of {listed} bits")
    if n_bits not in ((8,) if is_jpeg else (8, 16)):
        raise _unsupported(f"{n_bits}-bit {'JPEG inside' if is_jpeg else 'pixels'}")
    if not formats <= {1, 4}:  # 4 is "undefined", which all readers take for unsigned
        raise _unsupported("samples of an unknown format")
    return n_bits


def _colours(tags: Tags, n_samples: int, *, is_jpeg: bool) -> tuple[int, Alpha]:
    if not tags.get(t.PHOTOMETRIC):
        raise _unsupported("no photometric interpretation")
    photometric = one(tags, t.PHOTOMETRIC)
    known = _JPEG_N_COLOURS if is_jpeg else _N_COLOURS
    if photometric not in known:
        name = t.PHOTOMETRIC_NAMES.get(photometric, f"photometric {photometric}")
        raise _unsupported(f"{name} pixels{' as JPEG' if is_jpeg else ''}")
    n_colours = known[photometric]
    extra = tags.get(t.EXTRA_SAMPLES, ())
    n_extra = n_samples - n_colours
    if n_extra == 0 and not extra:
        return photometric, Alpha.NONE
    may_have_alpha = photometric in (t.BLACK_IS_ZERO, t.RGB) and not is_jpeg
    if n_extra != 1 or len(extra) > 1 or not may_have_alpha:
        kind = f"{t.PHOTOMETRIC_NAMES[photometric]}{' JPEG' if is_jpeg else ''}"
        of_extra = f", {len(extra)} of them extra," if len(extra) not in (0, n_extra) else ""
        raise _unsupported(
            f"{counted(n_samples, 'channel')}{of_extra} where {kind} has {n_colours}"
        )
    kind_of_extra = extra[0] if extra else Alpha.UNSPECIFIED
    if kind_of_extra not in set(Alpha) - {Alpha.NONE}:
        raise _unsupported(f"an extra sample of kind {kind_of_extra}")
    return photometric, Alpha(kind_of_extra)


def _palette(tags: Tags, n_bits: int) -> tuple[int, ...]:
    palette = tags.get(t.COLOUR_MAP, ())
    if n_bits != 8 or len(palette) != 3 * 256:
        raise _unsupported(f"{n_bits}-bit pixels and a palette of {len(palette) // 3} colours")
    if 0 < max(palette) < 256:
        # Some readers take such values for 8-bit ones; by the standard they are nearly black.
        raise _unsupported("a palette of bytes, although TIFF palettes have 16-bit values")
    return palette


def _require_full_range(tags: Tags, photometric: int, n_bits: int) -> None:
    """Refuse colours that most readers would show differently from what the tags say."""
    top = (1 << n_bits) - 1
    if photometric == t.YCBCR:
        expected = [0, top, (top + 1) // 2, top, (top + 1) // 2, top]
        coefficients = _rationals(tags.get(t.YCBCR_COEFFICIENTS, ()), 1000)
        if coefficients and tuple(coefficients) != _BT601_PER_MILLE:
            raise _unsupported("YCbCr pixels of other coefficients than BT.601")
    else:
        expected = [0, top] * 3
    limits = _rationals(tags.get(t.REFERENCE_BLACK_WHITE, ()), 1)
    n_limits = 6 if photometric in (t.RGB, t.YCBCR) else 0
    if limits[:n_limits] not in ([], expected):
        raise _unsupported("colours of a reduced range")
    dots = tags.get(t.DOT_RANGE, ()) if photometric == t.CMYK else ()
    if set(dots) - {0, top}:
        raise _unsupported("inks of a reduced range")


def _rationals(numbers: tuple[int, ...], scale: int) -> list[int]:
    """Values of a tag of numerators and denominators, scaled and rounded."""
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return [round(scale * above / below) if below else -1 for above, below in pairs]
