from __future__ import annotations

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from app.slides.outputs.regions import Cell, Ring, merge_cells, signed_area

GRIDS = st.integers(1, 9).flatmap(
    lambda width: st.lists(
        st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=9
    )
)


def _cells(grid: list[list[bool]]) -> list[Cell]:
    return [(x, y) for y, line in enumerate(grid) for x, full in enumerate(line) if full]


def _unit_sides(ring: Ring) -> list[tuple[Cell, Cell]]:
    """The sides of cells that a ring consists of, each with its ends in order."""
    sides = []
    for (x1, y1), (x2, y2) in pairwise(ring):
        n, dx, dy = max(abs(x2 - x1), abs(y2 - y1)), np.sign(x2 - x1), np.sign(y2 - y1)
        points = [(int(x1 + dx * i), int(y1 + dy * i)) for i in range(n + 1)]
        sides += [(min(pair), max(pair)) for pair in pairwise(points)]
    return sides


def _filled(polygons: list[list[Ring]], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Cells inside by the even-odd rule: sides that a ray from the left crosses."""
    crossings = np.zeros(shape, int)
    for polygon in polygons:
        for ring in polygon:
            for (x1, y1), (x2, y2) in pairwise(ring):
                if x1 == x2:
                    crossings[min(y1, y2) : max(y1, y2), x1:] += 1
    inside: NDArray[np.bool_] = crossings % 2 == 1
    return inside


@given(GRIDS)
def test_merge_cells_covers_the_cells_and_nothing_else(grid: list[list[bool]]) -> None:
    polygons = merge_cells(_cells(grid))
    assert (_filled(polygons, (len(grid), len(grid[0]))) == np.array(grid)).all()
    assert sum(signed_area(ring) for polygon in polygons for ring in polygon) == np.sum(grid)


@given(GRIDS)
def test_merge_cells_makes_a_polygon_of_each_connected_part(grid: list[list[bool]]) -> None:
    polygons = merge_cells(_cells(grid))
    parts, n_parts = ndimage.label(grid)
    assert len(polygons) == n_parts
    for polygon in polygons:
        inside = _filled([polygon], parts.shape)
        assert len(set(parts[inside])) == 1
        assert inside.sum() == (parts == parts[inside][0]).sum()


@given(GRIDS)
def test_merge_cells_makes_rings_that_neither_touch_nor_cross_themselves(
    grid: list[list[bool]],
) -> None:
    for polygon in merge_cells(_cells(grid)):
        for ring in polygon:
            assert ring[0] == ring[-1]
            corners = Counter(corner for side in _unit_sides(ring) for corner in side)
            # Each corner of a cell on the ring ends two of its sides, and never four.
            assert set(corners.values()) == {2}
            for a, b, c in zip(ring, ring[1:], [*ring[2:], ring[1]], strict=False):
                assert (a[0] == b[0]) != (b[0] == c[0]), "a corner where the ring goes straight on"


@given(GRIDS)
def test_merge_cells_puts_each_side_into_one_ring_and_holes_after_the_edge(
    grid: list[list[bool]],
) -> None:
    polygons = merge_cells(_cells(grid))
    sides = Counter(side for polygon in polygons for ring in polygon for side in _unit_sides(ring))
    assert set(sides.values()) <= {1}
    for edge, *holes in polygons:
        assert signed_area(edge) > 0
        assert all(signed_area(hole) < 0 for hole in holes)


def test_merge_cells_keeps_a_hole_that_touches_the_edge_in_a_corner_apart() -> None:
    ring = [(1, 0), (2, 0), (0, 1), (2, 1), (0, 2), (1, 2), (2, 2)]
    (polygon,) = merge_cells(ring)
    assert polygon == [
        [(1, 0), (3, 0), (3, 3), (0, 3), (0, 1), (1, 1), (1, 0)],
        [(2, 1), (1, 1), (1, 2), (2, 2), (2, 1)],
    ]


def test_merge_cells_ignores_the_order_of_cells() -> None:
    cells = [(x, y) for x in range(5) for y in range(5) if (x * y) % 3 != 1]
    assert merge_cells(cells) == merge_cells(reversed(cells))


def test_merge_cells_of_nothing_is_nothing() -> None:
    assert merge_cells([]) == []
