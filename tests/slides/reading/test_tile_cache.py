from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from app.core.slide_errors import CorruptSlideError
from app.slides.reading.tile_cache import CachedLevel

_N_BYTES = 4 * 4 * 3


class CountingLevel:
    """Counts reads; has no tile in row 1, and a damaged one in row 2."""

    size, tile_size, downsample = (64, 64), (4, 4), 1.0

    def __init__(self) -> None:
        self.read: list[tuple[int, int, int]] = []

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        self.read.append((column, row, scale))
        if row == 2:
            raise CorruptSlideError("damaged")
        return None if row == 1 else np.full((4, 4, 3), column, np.uint8)


def test_tile_is_decoded_once() -> None:
    level = CountingLevel()
    cached = CachedLevel(level)
    for _ in range(2):
        for column, row, scale in ((0, 0, 1), (1, 0, 1), (0, 0, 2), (0, 1, 1)):
            tile = cached.read_tile(column, row, scale)
            assert tile is None if row else (tile == column).all()  # type: ignore[union-attr] # row 1 alone has none
    assert len(level.read) == 4


def test_tile_used_longest_ago_is_dropped() -> None:
    level = CountingLevel()
    cached = CachedLevel(level, 2 * _N_BYTES)
    for column in (0, 1, 0, 2, 0, 1):
        cached.read_tile(column, 0, 1)
    assert [column for column, _, _ in level.read] == [0, 1, 2, 1]


def test_tile_larger_than_the_cache_is_read_all_the_same() -> None:
    cached = CachedLevel(CountingLevel(), _N_BYTES - 1)
    for _ in range(2):
        assert cached.read_tile(3, 0, 1) is not None


def test_damage_is_not_kept() -> None:
    level = CountingLevel()
    cached = CachedLevel(level)
    for _ in range(2):
        with pytest.raises(CorruptSlideError):
            cached.read_tile(0, 2, 1)
    assert len(level.read) == 2
