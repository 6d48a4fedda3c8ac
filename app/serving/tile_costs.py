"""How long tiles keep a worker busy, learnt from those that it worked on."""

from __future__ import annotations

import threading
from typing import Final, NamedTuple

from app.core.errors import TileError
from app.core.formats import read_structure

# Weight of the newest tile in the mean of all tiles, which spans about the last 50.
_SMOOTHING: Final = 0.04
# The mean of one kind follows faster: a rare kind may be the expensive one.
_KIND_SMOOTHING: Final = 0.1
_INITIAL_TILE_S: Final = 0.02
# Assumed before a kind was seen: a WebP of 4096 x 4096 px takes 0.3 s to decode, and a picture of
# 2048 x 2048 px as long again to draw.
_INITIAL_DECODE_S_PER_MPX: Final = 0.02
_INITIAL_DRAW_S_PER_MPX: Final = 0.1
_HEADS_BYTES: Final = (4 * 1024, 64 * 1024)
"""JPEG, PNG and WebP state their size in so many first bytes, most in the fewer ones."""
_TIFF_MAGIC: Final = (b"II", b"MM")


class TileKind(NamedTuple):
    """What decides how long a tile takes; sizes are rounded up to powers of two.

    Attributes:
        format: one of `app.core.formats.FORMATS`; empty if the head of the file does not tell.
        log2_pixels: of the encoded image.
        log2_drawn_pixels: of the tile in the picture to draw; 0 if none is drawn.
    """

    format: str
    log2_pixels: int
    log2_drawn_pixels: int


def tile_kind(tile_bytes: bytes, max_pixels: int, drawn_px: int = 0) -> TileKind:
    """Read the kind of a tile from the head of its file, in microseconds.

    Args:
        tile_bytes: an encoded tile.
        max_pixels: limit on width times height; tiles above it are rejected before decoding.
        drawn_px: side of the tile in the picture to draw; 0 if none is drawn.
    """
    log2_drawn = (drawn_px * drawn_px).bit_length()
    # A TIFF's size may be at its end; no other format needs more than the head.
    is_tiff = tile_bytes.startswith(_TIFF_MAGIC)
    for n_bytes in (len(tile_bytes),) if is_tiff else _HEADS_BYTES:
        try:
            structure = read_structure(tile_bytes[:n_bytes], max_pixels)
        except TileError:
            continue
        n_pixels = structure.width_px * structure.height_px
        return TileKind(structure.format, n_pixels.bit_length(), log2_drawn)
    return TileKind("", 0, log2_drawn)


class TileCosts:
    """Moving means of the seconds that a tile occupies a worker; thread-safe."""

    def __init__(self) -> None:
        """Start with assumptions."""
        self._mean_s = _INITIAL_TILE_S
        self._seen: dict[TileKind, tuple[int, float]] = {}
        self._lock = threading.Lock()

    @property
    def mean_s(self) -> float:
        """Mean of recent tiles of all kinds."""
        return self._mean_s

    def estimate_s(self, kind: TileKind) -> float:
        """Mean of recent tiles of one kind; an assumption before the first."""
        seen = self._seen.get(kind)
        return seen[1] if seen else _initial_s(kind)

    def observe(self, kind: TileKind, work_s: float) -> None:
        """Learn from a tile that occupied a worker for `work_s`, whatever its outcome."""
        with self._lock:
            self._mean_s += _SMOOTHING * (work_s - self._mean_s)
            n_seen, mean_s = self._seen.get(kind, (0, 0.0))
            weight = max(_KIND_SMOOTHING, 1 / (n_seen + 1))
            self._seen[kind] = n_seen + 1, mean_s + weight * (work_s - mean_s)


def _initial_s(kind: TileKind) -> float:
    mpx, drawn_mpx = (
        2**log2 / 1e6 if log2 else 0.0 for log2 in (kind.log2_pixels, kind.log2_drawn_pixels)
    )
    n_decodings = 2 if drawn_mpx else 1
    decode_s = n_decodings * _INITIAL_DECODE_S_PER_MPX * mpx
    return _INITIAL_TILE_S + decode_s + _INITIAL_DRAW_S_PER_MPX * drawn_mpx
