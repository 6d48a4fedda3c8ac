"""Image file directories: classic and big, of both byte orders, and damaged ones."""

from __future__ import annotations

import struct

import pytest

from app.core.formats.ifd import TooManyValuesError, read_directory, read_orientation
from tests.core.formats.files import exif

WIDTH = 256
_CODES = {3: "H", 4: "I", 16: "Q"}


def directory(order: str, *tags: tuple[int, int, tuple[int, ...]], is_big: bool = False) -> bytes:
    """One directory of tags: number, type, values."""
    word, count = ("Q", "Q") if is_big else ("I", "H")
    n_word = struct.calcsize(word)
    mark = {"<": b"II", ">": b"MM"}[order]
    head = struct.pack(f"{order}HHHQ", 43, 8, 0, 16) if is_big else struct.pack(f"{order}HI", 42, 8)
    body, values = struct.pack(order + count, len(tags)), b""
    values_at = 2 + len(head) + len(body) + len(tags) * (4 + 2 * n_word) + n_word
    for tag, kind, numbers in tags:
        raw = struct.pack(f"{order}{len(numbers)}{_CODES.get(kind, 'B')}", *numbers)
        body += struct.pack(f"{order}HH{word}", tag, kind, len(numbers))
        if len(raw) > n_word:
            body += struct.pack(order + word, values_at + len(values))
            values += raw
        else:
            body += raw.ljust(n_word, b"\0")
    return mark + head + body + bytes(n_word) + values


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [3, 4])
@pytest.mark.parametrize("values", [(7,), (1, 2), tuple(range(1, 50))])
def test_values_are_read(order: str, is_big: bool, kind: int, values: tuple[int, ...]) -> None:
    data = directory(order, (WIDTH, kind, values), (300, 3, (1,)), is_big=is_big)
    assert read_directory(data, {WIDTH}, 100) == ({WIDTH: values}, 0)


def test_numbers_of_eight_bytes_are_read() -> None:
    data = directory("<", (324, 16, (2**40, 2**63)), is_big=True)
    assert read_directory(data, {324}, 2)[0] == {324: (2**40, 2**63)}


def test_another_directory_is_noticed() -> None:
    data = directory("<", (WIDTH, 3, (7,)))
    assert read_directory(data[:-4] + b"\x08\0\0\0", {WIDTH}, 1) == ({WIDTH: (7,)}, 8)


def test_number_of_values_is_bounded() -> None:
    data = directory("<", (WIDTH, 3, tuple(range(5))))
    assert len(read_directory(data, {WIDTH}, 5)[0][WIDTH]) == 5
    with pytest.raises(TooManyValuesError):
        read_directory(data, {WIDTH}, 4)
    assert read_directory(data, {257}, 4) == ({}, 0)  # not wanted, so not read


BIG = directory("<", (WIDTH, 4, (1, 2, 3)), is_big=True)
DAMAGED = {
    "nothing": b"",
    "no byte order": b"XX*\0\x08\0\0\0",
    "another version": b"II,\0\x08\0\0\0\0\0",
    "directory beyond the end": b"II*\0\xff\xff\xff\xff",
    "directory beyond any memory": BIG[:8] + b"\xff" * 8 + BIG[16:],
    "values beyond any memory": BIG[:36] + b"\xff" * 8 + BIG[44:],
    "more values than memory": BIG[:28] + b"\xff" * 8 + BIG[36:],
    "more tags than there can be": BIG[:16] + b"\xff" * 8 + BIG[24:],
    "text": directory("<", (WIDTH, 2, (65,))),
    "the same tag twice": directory("<", (WIDTH, 3, (7,)), (WIDTH, 3, (9,))),
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_directory_is_a_value_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_directory(DAMAGED[name], {WIDTH}, 100)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read(order: str, orientation: int) -> None:
    assert read_orientation(exif(orientation, order)) == orientation


@pytest.mark.parametrize(
    "data",
    [
        b"",
        exif(0),
        exif(9),
        exif(6)[:16],
        directory("<", (0x0112, 3, ())),
        directory("<", (0x0112, 3, (6, 6))),
    ],
)
def test_orientation_is_upright_if_it_cannot_be_read(data: bytes) -> None:
    assert read_orientation(data) == 1
