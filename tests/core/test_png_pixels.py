"""Every layout of a PNG decodes to the colours that were written."""

from __future__ import annotations

import itertools
import struct
import zlib
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.tile import TILE_SIDE_PX, decode_tile
from app.core.tile_errors import CorruptTileError
from tests.encoders import png_chunk

Samples = NDArray[np.uint16]

GREY, RGB, PALETTE, GREY_ALPHA, RGBA = 0, 2, 3, 4, 6
N_SAMPLES: Final = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGBA: 4}
LAYOUTS: Final = [
    *itertools.product((GREY,), (1, 2, 4, 8, 16)),
    *itertools.product((PALETTE,), (1, 2, 4, 8)),
    *itertools.product((RGB, GREY_ALPHA, RGBA), (8, 16)),
]
WHOLE: Final = [(0, 0, 1, 1)]
ADAM7: Final = [
    *((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4)),
    *((0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)),
]
"""First column and row of each pass, and the steps to the next ones."""


def packed(row: Samples, depth: int) -> bytes:
    if depth == 16:
        return row.astype(">u2").tobytes()
    bits = row.reshape(-1, 1) >> np.arange(depth)[::-1] & 1
    return np.packbits(bits.astype(np.uint8)).tobytes()


def filtered(rows: list[bytes], bytes_per_pixel: int) -> bytes:
    """With the filters None, Sub and Up in turn."""
    above, parts = bytes(len(rows[0])), []
    for i, row in enumerate(rows):
        predicted = (bytes(len(row)), bytes(bytes_per_pixel) + row, above)[i % 3]
        parts += [
            bytes([i % 3]),
            bytes((a - b) & 255 for a, b in zip(row, predicted, strict=False)),
        ]
        above = row
    return b"".join(parts)


def png(samples: Samples, colour_type: int, depth: int, interlaced: bool, *chunks: bytes) -> bytes:
    """A PNG of samples `[H, W, n]` with further chunks before its data."""
    height, width, n_samples = samples.shape
    data = b""
    for left, top, across, down in ADAM7 if interlaced else WHOLE:
        rows = [packed(row, depth) for row in samples[top::down, left::across]]
        data += filtered(rows, max(1, n_samples * depth // 8))
    head = struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, int(interlaced))
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        png_chunk(b"IHDR", head),
        *chunks,
        png_chunk(b"IDAT", zlib.compress(data)),
        png_chunk(b"IEND", b""),
    ])  # fmt: skip


def random_samples(colour_type: int, depth: int) -> Samples:
    shape = (TILE_SIDE_PX, TILE_SIDE_PX, N_SAMPLES[colour_type])
    return np.random.default_rng(depth).integers(0, 1 << depth, shape, np.uint16)


def over_white(levels: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB in [0, 255] from levels and alpha in [0, 1], `[H, W, n]` and `[H, W, 1]`."""
    return np.broadcast_to(255 * (levels * alpha + 1 - alpha), (*levels.shape[:2], 3))


def require_close(png_bytes: bytes, expected: NDArray[np.float64]) -> None:
    # 16 bits are reduced to 8 by dropping the low byte, of a level and of its alpha.
    assert np.abs(decode_tile(png_bytes) - expected).max() <= 2.1


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(("colour_type", "depth"), LAYOUTS)
def test_every_layout_decodes(colour_type: int, depth: int, interlaced: bool) -> None:
    samples = random_samples(colour_type, depth)
    if colour_type == PALETTE:
        palette = np.random.default_rng(1).integers(0, 256, (1 << depth, 3), np.uint8)
        content = png(samples, PALETTE, depth, interlaced, png_chunk(b"PLTE", palette.tobytes()))
        require_close(content, palette[samples[..., 0]].astype(float))
        return
    levels = samples / ((1 << depth) - 1)
    alpha = np.ones((*samples.shape[:2], 1))
    if colour_type in (GREY_ALPHA, RGBA):
        levels, alpha = levels[..., :-1], levels[..., -1:]
    require_close(png(samples, colour_type, depth, interlaced), over_white(levels, alpha))


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize(
    ("colour_type", "depth"), [layout for layout in LAYOUTS if layout[0] in (GREY, RGB)]
)
def test_transparent_colour_is_white(colour_type: int, depth: int, interlaced: bool) -> None:
    """That colour alone, and not one that looks the same at 8 bits."""
    samples = random_samples(colour_type, depth)
    colour = samples[0, 0].copy()
    samples[:, 50:90] = colour
    samples[:, 100:110] = colour ^ 1
    samples[:, 120:130, 0] = colour[0] ^ 1  # other samples may still be equal
    alpha = (samples != colour).any(axis=-1, keepdims=True).astype(float)
    # Bits beyond the depth do not count.
    stated = [int(sample) | (0x10000 - (1 << depth) if depth < 16 else 0) for sample in colour]
    chunk = png_chunk(b"tRNS", struct.pack(f">{len(stated)}H", *stated))
    content = png(samples, colour_type, depth, interlaced, chunk)
    require_close(content, over_white(samples / ((1 << depth) - 1), alpha))


@pytest.mark.parametrize("interlaced", [False, True], ids=["plain", "interlaced"])
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("share", [0.5, 1.0])
def test_transparency_of_a_palette_is_applied(depth: int, interlaced: bool, share: float) -> None:
    """Also if it states only the first colours; the others are opaque."""
    samples = random_samples(PALETTE, depth)
    n_colours = 1 << depth
    rng = np.random.default_rng(2)
    palette = rng.integers(0, 256, (n_colours, 3), np.uint8)
    alpha = np.full(n_colours, 255, np.uint8)
    n_stated = int(n_colours * share)
    alpha[:n_stated] = rng.integers(0, 256, n_stated)
    chunks = png_chunk(b"PLTE", palette.tobytes()), png_chunk(b"tRNS", alpha[:n_stated].tobytes())
    content = png(samples, PALETTE, depth, interlaced, *chunks)
    index = samples[..., 0]
    require_close(content, over_white(palette[index] / 255, alpha[index][..., None] / 255))


COLOURS = png_chunk(b"PLTE", bytes(range(12)))
ALPHA = png_chunk(b"tRNS", b"\0\x80")
BAD_PALETTES = {
    "none": [],
    "7 bytes": [png_chunk(b"PLTE", bytes(7))],
    "0 bytes": [png_chunk(b"PLTE", b"")],
    "257 colours": [png_chunk(b"PLTE", bytes(771))],
    "too few colours": [png_chunk(b"PLTE", bytes(9))],
    "wrong checksum": [COLOURS[:-1] + b"?"],
    "two": [COLOURS, COLOURS],
    "transparency before it": [ALPHA, COLOURS],
    "two transparencies": [COLOURS, ALPHA, ALPHA],
    "transparency of more colours": [COLOURS, png_chunk(b"tRNS", bytes(300))],
}


@pytest.mark.parametrize("name", BAD_PALETTES)
def test_palette_that_readers_disagree_about_is_refused(name: str) -> None:
    samples = random_samples(PALETTE, 2)
    require_close(
        png(samples, PALETTE, 8, False, COLOURS), np.arange(12.0).reshape(4, 3)[samples[..., 0]]
    )
    with pytest.raises(CorruptTileError) as caught:
        decode_tile(png(samples, PALETTE, 8, False, *BAD_PALETTES[name]))
    assert caught.value.format == "PNG"


@pytest.mark.parametrize("colour_type", [GREY_ALPHA, RGBA])
@pytest.mark.parametrize("depth", [8, 16])
def test_transparent_colour_beside_an_alpha_channel_is_ignored(
    colour_type: int, depth: int
) -> None:
    samples = random_samples(colour_type, depth)
    chunk = png_chunk(b"tRNS", samples[0, 0].astype(">u2").tobytes())
    plain, keyed = (png(samples, colour_type, depth, False, *chunks) for chunks in ([], [chunk]))
    assert np.array_equal(decode_tile(keyed), decode_tile(plain))
