"""What a decoder warns of is told; what loses nothing is not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from app.core.formats import read_structure
from app.core.tile import decode_tile, decode_tile_and_header
from app.core.tile_errors import CorruptTileError
from tests.core.formats.files import MAX_PIXELS, encoded

NOISE = np.random.default_rng(2).integers(0, 180, (512, 512, 3), np.uint8)
KINDS: Final[dict[str, dict[str, Any]]] = {
    "baseline": {},
    "restarts": {"restart_marker_rows": 1},
    "progressive": {"progressive": True},
    "grey": {"mode": "L"},
    "CMYK": {"mode": "CMYK"},
}
END: Final = b"\xff\xd9"


def jpeg_of(kind: str) -> bytes:
    options = dict(KINDS[kind])
    return encoded("JPEG", Image.fromarray(NOISE).convert(options.pop("mode", "RGB")), **options)


WHOLE: Final = {kind: jpeg_of(kind) for kind in KINDS}


def middle(jpeg: bytes) -> int:
    return 2 * len(jpeg) // 3


DAMAGES: Final[dict[str, Callable[[bytes], bytes]]] = {
    "4 kB of zeros": lambda jpeg: jpeg[: middle(jpeg)] + bytes(4096) + jpeg[middle(jpeg) + 4096 :],
    "2 kB lost": lambda jpeg: jpeg[: middle(jpeg)] + jpeg[middle(jpeg) + 2048 :],
    "2 kB twice": lambda jpeg: jpeg[: middle(jpeg) + 2048] + jpeg[middle(jpeg) :],
    "the last bytes lost": lambda jpeg: jpeg[:-7],
    "the last bytes lost before the end marker": lambda jpeg: jpeg[:-9] + END,
    "bytes before the end marker": lambda jpeg: jpeg[:-2] + b"0123456789abcdef" + END,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_damaged_tile_is_marked(kind: str, damage: str) -> None:
    damaged = DAMAGES[damage](WHOLE[kind])
    tile, header = decode_tile_and_header(damaged)
    assert header.is_damaged
    assert tile.shape == (224, 224, 3)
    with pytest.raises(CorruptTileError):  # of which the pixels alone do not tell
        decode_tile(damaged)


@pytest.mark.parametrize("kind", KINDS)
def test_whole_tile_is_not_marked(kind: str) -> None:
    assert not decode_tile_and_header(WHOLE[kind])[1].is_damaged


@pytest.mark.parametrize("n_lost", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_missing_end_marker_loses_nothing(kind: str, n_lost: int) -> None:
    cut = WHOLE[kind][:-n_lost]
    tile, header = decode_tile_and_header(cut)
    assert not header.is_damaged
    assert np.array_equal(tile, decode_tile(WHOLE[kind]))


@pytest.mark.parametrize("behind", [b"\0", b"\n", bytes(5000), b"junk \xff\xd8\xff\xda", END])
@pytest.mark.parametrize("kind", KINDS)
def test_bytes_behind_the_end_lose_nothing(kind: str, behind: bytes) -> None:
    tile, header = decode_tile_and_header(WHOLE[kind] + behind)
    assert not header.is_damaged
    assert np.array_equal(tile, decode_tile(WHOLE[kind]))


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
@pytest.mark.parametrize("kind", KINDS)
def test_tile_that_lost_much_is_refused(kind: str, share: float) -> None:
    whole = WHOLE[kind]
    with pytest.raises(CorruptTileError) as caught:
        decode_tile_and_header(whole[: int(len(whole) * share)])
    assert caught.value.format == "JPEG"


def last_scan_at(progressive: bytes) -> int:
    """Where the tables of the last scan begin."""
    at = progressive.rindex(b"\xff\xc4")
    assert progressive.index(b"\xff\xda") < at < progressive.rindex(b"\xff\xda")
    return at


def test_progressive_tile_that_lost_a_part_of_its_last_scan_is_marked() -> None:
    """Its pixels are all there, with less detail."""
    whole = WHOLE["progressive"]
    assert decode_tile_and_header(whole[: (last_scan_at(whole) + len(whole)) // 2])[1].is_damaged


def test_file_that_ends_between_two_scans_is_refused() -> None:
    """Its decoder warns of nothing."""
    whole = WHOLE["progressive"]
    with pytest.raises(CorruptTileError):
        read_structure(whole[: last_scan_at(whole)], MAX_PIXELS)


def test_text_mode_transfer_is_refused_or_marked() -> None:
    with pytest.raises(CorruptTileError):
        decode_tile(WHOLE["baseline"].replace(b"\n", b"\r\n"))


def test_damage_in_the_jpeg_of_a_tiff_is_marked() -> None:
    """A strip of this size is one JPEG stream of its own."""
    tiff = encoded("TIFF", Image.fromarray(NOISE), compression="jpeg", tiffinfo={278: 512})
    whole, header = decode_tile_and_header(tiff)
    assert not header.is_damaged
    at = len(tiff) // 2
    tile, header = decode_tile_and_header(tiff[:at] + bytes(4096) + tiff[at + 4096 :])
    assert header.is_damaged
    assert (tile != whole).any()
