"""Whatever `tifffile` can write is read as `tifffile` reads it, or refused; never anything else."""

from __future__ import annotations

import io
import itertools
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from app.core.tile import decode_tile
from app.core.tile_errors import PixelFormatError

SIDE_PX: Final = 64
COMPRESSIONS: Final = (
    *(None, "lzw", "adobe_deflate", "deflate", "packbits", "lzma", "zstd", "jpeg"),
    *("webp", "jpeg2000", "jpegxl", "jpegxr", "png", "lerc"),
)
LAYOUTS: Final[tuple[dict[str, Any], ...]] = (
    {"rowsperstrip": SIDE_PX},
    {"rowsperstrip": 7},  # and a last strip of one row
    {"tile": (48, 32)},  # overhangs
)
_ORDERS: Final[tuple[Literal["<", ">"], ...]] = ("<", ">")
File = tuple[dict[str, Any], Literal["<", ">"], bool]
FILES: Final[tuple[File, ...]] = tuple(itertools.product(LAYOUTS, _ORDERS, (False, True)))
"""Layout, byte order, and whether it is a BigTIFF."""
ALPHAS: Final = (None, "unspecified", "assocalpha", "unassalpha")
DTYPES: Final = ("uint8", "uint16", "int8", "int16", "uint32", "float16", "float32", "bool")


# Of each kind that a codec can hold, 12 files are read (4 for the codecs in `BRIEF`), which makes
# 4,204. One file of each other kind is refused: about 4,000.
BRIEF: Final = ("lzma", "deflate")
"""LZMA takes as long as all others together; the old number of Deflate stands for the same data."""
N_READ: Final[dict[str | None, int]] = {
    **dict.fromkeys((None, "packbits"), 444),
    **dict.fromkeys(("lzw", "adobe_deflate", "zstd"), 888),
    **dict.fromkeys(BRIEF, 296),
    "jpeg": 60,
}


@dataclass(frozen=True)
class Kind:
    """What `tifffile` is asked to write."""

    photometric: str
    n_samples: int
    alpha: str | None
    dtype: str
    planar: str | None
    predictor: int

    def may_be_read(self, compression: str | None) -> bool:
        has_blendable_alpha = not self.alpha or self.photometric in ("minisblack", "rgb")
        return (
            compression in N_READ
            and self.dtype in ("uint8", "uint16")
            and self.predictor < 3
            and has_blendable_alpha
        )

    def options(self, compression: str | None) -> dict[str, Any]:
        options: dict[str, Any] = {"photometric": self.photometric, "compression": compression}
        if self.photometric == "palette":
            options["colormap"] = PALETTE
        if self.alpha:
            options["extrasamples"] = [self.alpha]
        if self.planar:
            options["planarconfig"] = self.planar
        if self.predictor > 1:
            options["predictor"] = self.predictor
        return options


def kinds() -> Iterator[Kind]:
    photometrics = {"miniswhite": 1, "minisblack": 1, "rgb": 3, "palette": 1, "separated": 4}
    for photometric, alpha, dtype, predictor in itertools.product(
        photometrics, ALPHAS, DTYPES, (1, 2, 3)
    ):
        n_samples = photometrics[photometric] + (alpha is not None)
        for planar in (None,) if n_samples == 1 else ("contig", "separate"):
            yield Kind(photometric, n_samples, alpha, dtype, planar, predictor)
    for dtype, photometric in itertools.product(("uint8", "uint16"), ("ycbcr", "cielab")):
        yield Kind(photometric, 3, None, dtype, "contig", 1)
    yield Kind("minisblack", 5, None, "uint8", "contig", 1)


def written_pixels(kind: Kind) -> NDArray[Any]:
    """`[side, side, samples]`, asymmetric; the alpha of an unspecified sample is opaque."""
    y, x = np.mgrid[0:SIDE_PX, 0:SIDE_PX] / SIDE_PX
    planes = [1 - y, 0.3 + x / 2, 0.6 + (x + y) / 6, 0.2 + y / 3, x][: kind.n_samples]
    if kind.alpha == "assocalpha":
        planes[:-1] = [plane * planes[-1] for plane in planes[:-1]]
    elif kind.alpha == "unspecified":
        planes[-1] = np.ones_like(x)
    pixels = np.stack(planes, -1)
    pixels[10:25, 30:55, : max(1, kind.n_samples - bool(kind.alpha))] *= 0.5
    if kind.dtype == "bool":
        return np.asarray(pixels > 0.4)
    scale = 1.0 if "float" in kind.dtype else float(np.iinfo(kind.dtype).max)
    return (pixels * scale).astype(kind.dtype)


PALETTE: Final = np.stack([
    np.arange(256) * 257, np.arange(256) * 100, (255 - np.arange(256)) * 257
]).astype(np.uint16)  # fmt: skip


def expected_rgb(read: NDArray[Any], kind: Kind) -> NDArray[np.float64]:
    """RGB over white, 0 to 255, of what the independent reader returned."""
    read = read.reshape(kind.n_samples, SIDE_PX, SIDE_PX).transpose(1, 2, 0) if (
        kind.planar == "separate"
    ) else read.reshape(SIDE_PX, SIDE_PX, kind.n_samples)  # fmt: skip
    if kind.photometric == "palette":
        return np.asarray(PALETTE.T[read[..., 0]] / 257)
    numbers = read / (255 if read.dtype == np.uint8 else 65535)
    n_colours = kind.n_samples - bool(kind.alpha)
    colours, alpha = numbers[..., :n_colours], numbers[..., n_colours:]
    if kind.photometric == "miniswhite":
        colours = 1 - colours
    elif kind.photometric == "separated":
        colours = (1 - colours[..., :3]) * (1 - colours[..., 3:])
    if kind.alpha == "assocalpha":
        colours = colours + 1 - alpha
    elif kind.alpha == "unassalpha":
        colours = colours * alpha + 1 - alpha
    return np.broadcast_to(255 * colours, (SIDE_PX, SIDE_PX, 3)).clip(0, 255)


def files_of(
    kind: Kind, compression: str | None, files: tuple[File, ...] = FILES
) -> Iterator[bytes]:
    pixels = written_pixels(kind)
    if kind.planar == "separate":
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    elif kind.n_samples == 1:
        pixels = pixels[..., 0]
    if not kind.may_be_read(compression):
        files = files[-1:]
    if compression in BRIEF:
        files = files[:4]
    for layout, order, is_big in files:
        buffer = io.BytesIO()
        try:
            tifffile.imwrite(
                buffer,
                pixels,
                byteorder=order,
                bigtiff=is_big,
                metadata=None,
                **layout,
                **kind.options(compression),
                compressionargs={"level": 1} if compression == "lzma" else None,
            )
        except Exception:  # noqa: BLE001 - it raises many things for what it cannot write
            return
        yield buffer.getvalue()


def outcome(content: bytes, kind: Kind) -> str:
    try:
        tile = decode_tile(content, side_px=SIDE_PX)
    except PixelFormatError:
        return "refused"
    expected = expected_rgb(tifffile.imread(io.BytesIO(content)), kind)
    difference = np.abs(tile - expected).max()
    assert difference <= 3, f"{kind} differs by {difference:.0f} grey levels"
    return "read"


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_combinations_are_read_right_or_refused(compression: str | None) -> None:
    """A seventh of what may be read and a fifth of the rest, in each kind of file in turn.

    The next test writes all.
    """
    first, step = (COMPRESSIONS.index(compression), 7) if compression in N_READ else (0, 5)
    chosen = itertools.islice(kinds(), first, None, step)
    outcomes = Counter(
        outcome(content, kind)
        for kind, file in zip(chosen, itertools.cycle(FILES), strict=False)
        for content in files_of(kind, compression, (file,))
    )
    assert (outcomes["read"] > 0) == (compression in N_READ)
    assert outcomes["refused"] > 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_every_combination_is_read_right_or_refused(compression: str | None) -> None:
    outcomes = Counter(
        outcome(content, kind) for kind in kinds() for content in files_of(kind, compression)
    )
    assert outcomes["read"] == N_READ.get(compression, 0)
    assert outcomes["refused"] > 0
