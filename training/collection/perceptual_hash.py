"""Find copies of tiles: the same bytes, or the same look, even if rotated or mirrored.

Looks are compared by difference hash (Krawetz 2013): a tile is reduced to 16 x 17 grey values, and
each bit says whether a value is brighter than its neighbour. Eight hashes, one for each symmetry of
the square, find rotated and mirrored copies that an augmentation saved beside the original.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SIDE: Final = 16
DEFAULT_MAX_BITS: Final = 24
"""On the 41 sample tiles, another JPEG quality changes at most 11 of the 256 bits; the two most
similar different tiles, both nearly empty, differ in 53."""


@dataclass(frozen=True, slots=True)
class LookAlikes:
    """Positions of two tiles, `first` < `second`, and the number of bits of 256 that differ."""

    first: int
    second: int
    n_bits: int


def fingerprints_of(tile: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Difference hashes of a tile's eight rotations and mirror images.

    Args:
        tile: uint8 `[side, side, 3]` RGB.

    Returns:
        uint64 `[8, 4]`; index 0 is the original tile.
    """
    grey = Image.fromarray(tile).convert("L")
    # One value more than bits on both axes, so that every symmetry is a slice of the same values.
    small = np.asarray(grey.resize((_SIDE + 1, _SIDE + 1), Image.Resampling.BOX), np.int16)
    turned = [np.rot90(small, turns) for turns in range(4)]
    return np.stack([_hash(view) for one in turned for view in (one, one[:, ::-1])])


def find_look_alikes(
    fingerprints: Sequence[NDArray[np.uint64] | None], max_bits: int = DEFAULT_MAX_BITS
) -> Iterator[LookAlikes]:
    """Pairs of tiles that are nearly the same, perhaps rotated or mirrored.

    Time grows with the square of the number of tiles: about 0.1 s for 1,144, minutes for 100,000.

    Args:
        fingerprints: uint64 `[8, 4]` for each tile; None is skipped.
        max_bits: largest number of differing bits.
    """
    known = [(i, hashes) for i, hashes in enumerate(fingerprints) if hashes is not None]
    if not known:
        return
    positions = np.array([i for i, _ in known])
    plain = np.stack([hashes[0] for _, hashes in known])
    for row, (i, hashes) in enumerate(known[:-1]):
        others = plain[row + 1 :]
        n_bits = np.bitwise_count(others[:, None, :] ^ hashes[None]).sum(2).min(1)
        for hit in np.flatnonzero(n_bits <= max_bits):
            yield LookAlikes(i, int(positions[row + 1 + hit]), int(n_bits[hit]))


def find_same_bytes(sha256s: Sequence[str]) -> list[tuple[int, ...]]:
    """Groups of two or more positions with the same hash; empty hashes are skipped."""
    groups: Mapping[str, list[int]] = defaultdict(list)
    for i, sha256 in enumerate(sha256s):
        if sha256:
            groups[sha256].append(i)
    return [tuple(group) for group in groups.values() if len(group) > 1]


def _hash(values: NDArray[np.int16]) -> NDArray[np.uint64]:
    bits = (values[:_SIDE, 1:] > values[:_SIDE, :-1]).reshape(-1)
    return np.packbits(bits).view(np.uint64)
