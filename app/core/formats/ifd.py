"""Image file directories: the tagged tables of TIFF, which EXIF uses too (TIFF 6.0, BigTIFF)."""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping
from typing import Final

_BYTE_ORDERS: Final = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43
_CODES_BY_TYPE: Final = {
    **{1: "B", 3: "H", 4: "I", 5: "II", 7: "B", 13: "I", 16: "Q", 18: "Q"},
    **{6: "b", 8: "h", 9: "i", 17: "q"},
}
"""A rational number is two whole numbers."""
_MAX_TAGS: Final = 4096
_ORIENTATION: Final = 0x0112
_UPRIGHT: Final = 1

Tags = Mapping[int, tuple[int, ...]]


class TooManyValuesError(ValueError):
    """A tag has more values than the caller accepts."""


def read_directory(
    data: bytes, wanted: Collection[int], max_values: int, at: int | None = None
) -> tuple[Tags, int]:
    """The values of some tags in a directory, and where the next directory is; 0 if there is none.

    Args:
        data: begins with a TIFF header.
        wanted: tags of whole numbers or bytes; others are skipped unread.
        max_values: of one tag.
        at: where the directory begins; the first one if it is `None`.

    Raises:
        TooManyValuesError: a wanted tag has more values.
        ValueError: no such header or directory, or a wanted tag that is repeated or cannot be read.
    """
    try:
        at = first_directory(data) if at is None else at
        return _read_directory(data, wanted, max_values, at)
    except (struct.error, KeyError, OverflowError) as error:
        raise ValueError("a damaged directory") from error


def first_directory(data: bytes) -> int:
    """Where the first directory begins.

    Raises:
        ValueError: no TIFF header.
    """
    try:
        order, is_big = _read_header(data)
        (at,) = struct.unpack_from(f"{order}Q" if is_big else f"{order}I", data, 8 if is_big else 4)
    except (struct.error, KeyError) as error:
        raise ValueError("no TIFF header") from error
    return int(at)


def _read_header(data: bytes) -> tuple[str, bool]:
    """Byte order, and whether it is a BigTIFF."""
    order = _BYTE_ORDERS[data[:2]]
    (version,) = struct.unpack_from(f"{order}H", data, 2)
    if version not in (_CLASSIC, _BIG):
        raise ValueError(f"version {version}")
    return order, version == _BIG


def _read_directory(
    data: bytes, wanted: Collection[int], max_values: int, at: int
) -> tuple[Tags, int]:
    order, is_big = _read_header(data)
    word, count, entry_bytes, inline_bytes = ("Q", "Q", 20, 8) if is_big else ("I", "H", 12, 4)
    (n_tags,) = struct.unpack_from(order + count, data, at)
    if n_tags > _MAX_TAGS:
        raise ValueError(f"{n_tags} tags")
    at += struct.calcsize(order + count)
    end = at + n_tags * entry_bytes
    tags: dict[int, tuple[int, ...]] = {}
    for entry in range(at, end, entry_bytes):
        tag, kind, n_values = struct.unpack_from(f"{order}HH{word}", data, entry)
        if tag not in wanted:
            continue
        if tag in tags:  # decoders disagree about which one counts
            raise ValueError(f"tag {tag} twice")
        if n_values > max_values:
            raise TooManyValuesError(f"{n_values} values")
        codes = _CODES_BY_TYPE[kind]
        code = f"{order}{n_values * len(codes)}{codes[0]}"
        value_at = entry + entry_bytes - inline_bytes
        if struct.calcsize(code) > inline_bytes:
            (value_at,) = struct.unpack_from(order + word, data, value_at)
        tags[tag] = struct.unpack_from(code, data, value_at)
    next_directory = data[end : end + struct.calcsize(order + word)]
    return tags, int.from_bytes(next_directory, "little" if order == "<" else "big")


def read_orientation(exif: bytes) -> int:
    """EXIF orientation, 1 to 8; 1 (upright) if the EXIF data does not say or is damaged.

    Args:
        exif: begins with a TIFF header, without `Exif` before it.
    """
    try:
        (orientation,) = read_directory(exif, {_ORIENTATION}, 1)[0].get(_ORIENTATION, (_UPRIGHT,))
    except ValueError:
        return _UPRIGHT
    return orientation if 1 <= orientation <= 8 else _UPRIGHT
