"""A slide with some damaged tiles still reads the others, and says which cannot be read."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pytest
import tifffile

from app.core.slide_errors import CorruptSlideError
from app.core.slide_limits import SlideLimits
from app.slides.opening import open_slide
from app.slides.reading.overview import DAMAGED_COLOUR
from tests.encoders import jpeg
from tests.forking import ForkedProcess
from tests.slides.drawn_slides import Drawing, draw_slide
from tests.slides.reading.bad_slides import many_scans, tiled

SIDE_PX: Final = 224
ROW: Final = Drawing(columns=3, rows=1, labels=(("viable_tumor",) * 3,), has_pyramid=False)
"""Three cells, each of 4 x 4 tiles."""

Damage = Callable[[bytes], bytes]


def _random(encoded: bytes) -> bytes:
    return np.random.default_rng(0).bytes(len(encoded))


def _cut(encoded: bytes) -> bytes:
    half = len(encoded) // 2
    return encoded[:half] + bytes(len(encoded) - half)


def _flipped(encoded: bytes) -> bytes:
    """Other bytes behind the headers, whose markers stay."""
    noise = np.random.default_rng(0).integers(0, 255, 64, np.uint8).tobytes()
    return encoded[:100] + noise + encoded[164:]


def _wider(encoded: bytes) -> bytes:
    """The frame header states 65,280 px."""
    at = encoded.index(b"\xff\xc0")
    return encoded[: at + 7] + b"\xff\x00" + encoded[at + 9 :]


def _damaged(path: Path, damage: Damage, compression: Literal["jpeg", "deflate"]) -> Path:
    """A slide of which one tile in the second cell is damaged."""
    draw_slide(path, replace(ROW, compression=compression))
    with tifffile.TiffFile(path) as file:
        page = file.pages.first
        index = 12 + 5  # the second row of 12 tiles
        at, n_bytes = page.dataoffsets[index], page.databytecounts[index]
    content = path.read_bytes()
    changed = damage(content[at : at + n_bytes])
    assert len(changed) == n_bytes
    path.write_bytes(content[:at] + changed + content[at + n_bytes :])
    return path


@pytest.mark.parametrize(
    ("damage", "compression"),
    [
        (_random, "jpeg"),
        (_cut, "jpeg"),
        (_flipped, "jpeg"),
        (_wider, "jpeg"),
        (_random, "deflate"),
    ],
)
def test_damaged_tile_costs_only_its_square(
    damage: Damage, compression: Literal["jpeg", "deflate"], tmp_path: Path
) -> None:
    path = _damaged(tmp_path / "slide", damage, compression)
    with closing(open_slide(path)) as source:
        for _ in range(2):  # also after an error
            first, last = (source.read_square((x, 0), 1024, SIDE_PX) for x in (0, 2048))
            assert first.std() > 10
            assert last.std() > 10
            with pytest.raises(CorruptSlideError):
                source.read_square((1024, 0), 1024, SIDE_PX)


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_damaged_tile_looks_like_tissue_in_the_overview(
    compression: Literal["jpeg", "deflate"], tmp_path: Path
) -> None:
    path = _damaged(tmp_path / "slide", _random, compression)
    with closing(open_slide(path)) as source:
        overview = source.read_overview(192)
    assert (overview[24, 88] == DAMAGED_COLOUR).all()  # the tile shows 16 px a side
    assert not (overview[24, 10] == DAMAGED_COLOUR).all()


def test_slide_without_any_sound_tile_has_no_overview(tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(tiled(512, 512, b"\xff\xd8" + bytes(999)))
    with closing(open_slide(path)) as source, pytest.raises(CorruptSlideError):
        source.read_overview(100)


@pytest.mark.parametrize(
    ("tile", "reason"),
    [
        (many_scans(1000), "more than 100 scans"),
        (jpeg(256)[:2] + b"\xff\xe5\0\x02" * 5000 + jpeg(256)[2:], "1024 pieces"),
        (jpeg(128), "128 x 128 px instead of 256 x 256"),
        (jpeg(256).replace(b"\xff\xc0", b"\xff\xc9"), "arithmetic-coded JPEG"),
        (jpeg(256) + bytes(2_000_000), "bytes"),
    ],
)
def test_limits_of_an_upload_hold_for_each_tile(tile: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "slide"
    path.write_bytes(tiled(512, 512, tile))
    limits = SlideLimits(max_encoded_tile_bytes=1_000_000)
    with (
        closing(open_slide(path, limits=limits)) as source,
        pytest.raises(CorruptSlideError, match=reason),
    ):
        source.read_square((0, 0), 512, SIDE_PX)


def test_padding_before_the_end_of_a_tile_is_no_damage(tmp_path: Path) -> None:
    plain = jpeg(256)
    path = tmp_path / "slide"
    path.write_bytes(tiled(512, 512, plain[:-2] + bytes(100) + plain[-2:]))
    with closing(open_slide(path)) as source:
        assert source.read_square((0, 0), 512, SIDE_PX).shape == (SIDE_PX, SIDE_PX, 3)


def test_data_before_the_end_of_a_tile_that_were_not_used_are_damage(tmp_path: Path) -> None:
    """If decoding went out of step, the tile shows something else."""
    plain = jpeg(256)
    path = tmp_path / "slide"
    path.write_bytes(tiled(512, 512, plain[:-2] + b"\x11" * 100 + plain[-2:]))
    with closing(open_slide(path)) as source, pytest.raises(CorruptSlideError):
        source.read_square((0, 0), 512, SIDE_PX)


def test_gaps_of_aperio_are_left_to_openslide(tmp_path: Path) -> None:
    """It fills a gap of a lower level from the one above; white would read as glass."""
    drawing = Drawing(kind="svs", mpp=0.5, columns=1, rows=1, labels=(("viable_tumor",),))
    path = draw_slide(tmp_path / "slide.svs", drawing).path
    with tifffile.TiffFile(path, mode="r+") as file:
        lower = file.pages[2]  # behind level 0 and the thumbnail
        assert isinstance(lower, tifffile.TiffPage)
        assert lower.shape == (512, 512, 3)
        tag = lower.tags["TileByteCounts"]
        tag.overwrite((0, *tag.value[1:]))
    with closing(open_slide(path)) as source:
        assert source.facts.reads == "openslide"
        assert source.read_square((0, 0), 2048, SIDE_PX)[:100, :100].mean() < 240


def test_tile_that_the_file_leaves_out_is_white(tmp_path: Path) -> None:
    path = tmp_path / "slide"
    n_bytes = len(jpeg(256))
    counts = {325: ("I", [n_bytes, 0, n_bytes, 0])}
    path.write_bytes(tiled(512, 512, jpeg(256), counts))
    with closing(open_slide(path)) as source:
        square = source.read_square((0, 0), 512, SIDE_PX)
    assert (square[:, :100] < 230).any(axis=-1).all()
    assert (square[:, 124:] == 255).all()


def test_file_that_shrinks_while_it_is_read_is_damaged(tmp_path: Path) -> None:
    path = draw_slide(tmp_path / "slide", ROW).path
    with closing(open_slide(path)) as source:
        os.truncate(path, 1000)
        with pytest.raises(CorruptSlideError):
            source.read_square((1024, 0), 1024, SIDE_PX)


_READ_ALL: Final = """
import resource, sys
from pathlib import Path
from app.slides.opening import open_slide

path, small, max_bytes = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
for name in (small, path):
    source = open_slide(name)
    if name == path:
        n_bytes = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (n_bytes + max_bytes,) * 2)
    source.read_overview(500)
    for x in range(0, source.facts.width_px, 1024):
        source.read_square((x, 0), 1024, 224)
print(source.facts.reads, source.facts.width_px)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
def test_memory_does_not_grow_with_the_slide(tmp_path: Path) -> None:
    """As one array, the slide would take 960 MB; its overview is read without a pyramid."""
    large, small = tmp_path / "large", tmp_path / "small"
    large.write_bytes(tiled(20_000, 16_000, jpeg(256)))
    small.write_bytes(tiled(2000, 2000, jpeg(256)))
    pipe = subprocess.PIPE
    with ForkedProcess(
        [str(large), str(small), str(48 * 1024**2)],
        code=_READ_ALL,
        stdout=pipe,
        stderr=pipe,
        text=True,
    ) as process:
        output, errors = process.communicate()
    assert errors == ""
    assert output.split() == ["jpeg", "20000"]
