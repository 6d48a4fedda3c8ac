"""Merge cells of a grid into polygons with holes, as GeoJSON and JTS want them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Final

Cell = tuple[int, int]
"""Column and row."""
Ring = list[tuple[int, int]]
"""Corners of cells; the last is the first again."""

_RIGHT, _DOWN, _LEFT, _UP = (1, 0), (0, 1), (-1, 0), (0, -1)
# The sides of a cell with the cell on their right hand: the corner where each begins, relative to
# the cell, its direction, and the neighbour on the other side.
_SIDES: Final = (
    ((0, 0), _RIGHT, _UP),
    ((1, 0), _DOWN, _RIGHT),
    ((1, 1), _LEFT, _DOWN),
    ((0, 1), _UP, _LEFT),
)
_LEFT_TURN: Final = {_RIGHT: _UP, _UP: _LEFT, _LEFT: _DOWN, _DOWN: _RIGHT}


def merge_cells(cells: Iterable[Cell]) -> list[list[Ring]]:
    """Merge cells that share a side.

    Cells that share only a corner are separate polygons, and a hole may touch its polygon's edge in
    a corner: no ring touches itself, which OGC Simple Features and JTS (QuPath) require. (JTS
    reads a ring that does as an invalid geometry.)

    Args:
        cells: columns and rows, in any order.

    Returns:
        Polygons in the order of their first cells by row and column. Each is its outer ring and
        then its holes; the area between x and y of a ring's corners (shoelace formula) is positive
        for the outer ring and negative for holes, as RFC 7946, 3.1.6, asks.
    """
    return [_rings_of(part) for part in _connected_parts(set(cells))]


def signed_area(ring: Ring) -> int:
    """Area of a ring in cells by the shoelace formula."""
    return sum(x1 * y2 - x2 * y1 for (x1, y1), (x2, y2) in pairwise(ring)) // 2


def _connected_parts(left: set[Cell]) -> Iterator[set[Cell]]:
    for start in sorted(left, key=lambda cell: (cell[1], cell[0])):
        if start not in left:
            continue
        left.remove(start)
        part, waiting = {start}, [start]
        while waiting:
            column, row = waiting.pop()
            for dx, dy in _LEFT_TURN:
                neighbour = column + dx, row + dy
                if neighbour in left:
                    left.remove(neighbour)
                    part.add(neighbour)
                    waiting.append(neighbour)
        yield part


def _rings_of(part: set[Cell]) -> list[Ring]:
    """The outer ring of a connected part and its holes."""
    steps: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for column, row in sorted(part, key=lambda cell: (cell[1], cell[0])):
        for (x, y), direction, (dx, dy) in _SIDES:
            if (column + dx, row + dy) not in part:
                steps.setdefault((column + x, row + y), []).append(direction)
    rings = []
    while steps:
        rings.append(_trace(steps))
    # Only the outer ring has the part on its inside, so only its area is positive.
    return sorted(rings, key=lambda ring: signed_area(ring) < 0)


def _trace(steps: dict[tuple[int, int], list[tuple[int, int]]]) -> Ring:
    """Follow sides from a corner until it comes again, and remove them from `steps`."""
    # The first corner that is left is the upper left corner of a cell, or the end of a cell above a
    # hole; both are corners of the ring, never a point on a straight side.
    start = at = next(iter(steps))
    heading = steps[at][0]
    ring: Ring = []
    previous: tuple[int, int] | None = None
    while True:
        choices = steps[at]
        # Where two cells of the part meet only in this corner, there are two ways. The left turn
        # stays at the empty cell, so that what it belongs to, the outside or a hole, has a ring of
        # its own.
        heading = choices[0]
        if len(choices) > 1 and previous is not None:
            heading = _LEFT_TURN[previous]
        choices.remove(heading)
        if not choices:
            del steps[at]
        if heading != previous:
            ring.append(at)
        at = at[0] + heading[0], at[1] + heading[1]
        previous = heading
        if at == start:
            break
    if len(ring) > 1 and _is_straight(ring[-1], ring[0], ring[1]):
        del ring[0]
    return [*ring, ring[0]]


def _is_straight(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return a[0] == b[0] == c[0] or a[1] == b[1] == c[1]
