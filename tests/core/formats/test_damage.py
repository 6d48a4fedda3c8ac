"""However a file is damaged, its structure is read or refused with a tile error, in little time."""

from __future__ import annotations

import contextlib
import itertools
import struct
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import TileError
from app.core.formats import read_structure
from tests.core.formats.files import MAX_PIXELS, SMALL

EXTREMES = (0, 1, 0x7F, 0x80, 0xFF)
SAMPLED_OR_ALL = pytest.mark.parametrize(
    "step", [8, pytest.param(1, marks=pytest.mark.exhaustive)], ids=["sampled", "all"]
)
"""Every eighth case meets all values, since there are 3 or 5 of them at each place."""


def read_or_refuse(content: bytes) -> None:
    with contextlib.suppress(TileError):
        read_structure(content, MAX_PIXELS)


def places(n_bytes: int, n_framing: int) -> list[int]:
    """Where the framing is: at both ends. What is between are pixels."""
    ends = (*range(min(n_framing, n_bytes)), *range(max(0, n_bytes - n_framing), n_bytes))
    return sorted(set(ends))


@SAMPLED_OR_ALL
@pytest.mark.parametrize("name", SMALL)
def test_every_truncation_is_read_or_refused(name: str, step: int) -> None:
    content = SMALL[name]
    for n_bytes in {*places(len(content), 700), *range(0, len(content), step**2)}:
        read_or_refuse(content[:n_bytes])


@SAMPLED_OR_ALL
@pytest.mark.parametrize("name", SMALL)
def test_every_changed_byte_is_read_or_refused(name: str, step: int) -> None:
    content = SMALL[name]
    cases = itertools.product(places(len(content), 700), EXTREMES)
    for at, value in itertools.islice(cases, 0, None, step):
        read_or_refuse(content[:at] + bytes([value]) + content[at + 1 :])


@SAMPLED_OR_ALL
@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("code", ["<I", ">I", "<Q", ">Q"])
def test_every_extreme_number_is_read_or_refused(name: str, code: str, step: int) -> None:
    content, n_bytes = SMALL[name], struct.calcsize(code)
    top = 1 << (8 * n_bytes)
    cases = itertools.product(places(len(content) - 8, 400), (top - 1, top // 2, top // 2 - 1))
    for at, number in itertools.islice(cases, 0, None, step):
        read_or_refuse(content[:at] + struct.pack(code, number) + content[at + n_bytes :])


@pytest.mark.parametrize("name", SMALL)
@given(data=st.data())
def test_several_changes_are_read_or_refused(name: str, data: st.DataObject) -> None:
    content = bytearray(SMALL[name])
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(max_size=9))
        content[at : at + data.draw(st.integers(0, 9))] = piece
    read_or_refuse(bytes(content))


@pytest.mark.parametrize("name", SMALL)
@given(tail=st.binary(max_size=400), n_kept=st.integers(4, 60))
def test_any_bytes_behind_a_beginning_are_read_or_refused(
    name: str, tail: bytes, n_kept: int
) -> None:
    read_or_refuse(SMALL[name][:n_kept] + tail)


SEGMENTS_WITH_FILL = b"".join(b"\xff\xff\xe5\0\x02" for _ in range(1000))
COSTLY_TO_WALK = {
    "fill before each of 1,000 segments": b"\xff\xd8" + SEGMENTS_WITH_FILL + bytes(20_000_000),
    "fill without end": b"\xff\xd8" + b"\xff" * 20_000_000,
    "many JPEG segments": b"\xff\xd8" + b"\xff\xe5\0\x02" * 5_000_000,
    "scans that follow each other": SMALL["progressive JPEG"] + b"\xff\xda\0\x02" * 5_000_000,
    "many PNG chunks": SMALL["PNG"][:33] + b"\0\0\0\0teSt\0\0\0\0" * 1_600_000,
    "many WebP chunks": b"RIFF\0\0\0\0WEBP" + b"EXIF\0\0\0\0" * 2_500_000,
    "large EXIF in WebP": b"RIFF\0\0\0\0WEBP"
    + (b"EXIF" + struct.pack("<I", 20_000) + bytes(20_000)) * 1000,
    "many TIFF tags": b"II*\0\x08\0\0\0\xff\xff" + bytes(20_000_000),
}


@pytest.mark.parametrize("name", COSTLY_TO_WALK)
def test_structure_of_a_costly_file_is_read_in_bounded_time(name: str) -> None:
    started = time.process_time()
    read_or_refuse(COSTLY_TO_WALK[name])
    assert time.process_time() - started < 2  # takes 0.1 s; without its bound, 5 s and more
