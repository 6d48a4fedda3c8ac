"""Grad-CAM deletion test: does the prediction depend on what the evidence map highlights?

One point of the deletion curve of Petsiuk et al. 2018 (RISE, arXiv:1806.07421). The loss of
probability is compared with deleting the same number of random cells, and with deleting the same
shape elsewhere. The second comparison is fairer, because scattered squares lower the probability by
their many edges alone. Deleted cells get the tile's mean colour, which stands out less than a
neutral grey.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.reliability.predictor import Predictor
from training.storage.frozen_model import FrozenModel

DELETED_SHARE: Final = 0.2
_N_RANDOM: Final = 5


class Deletion(FrozenModel):
    """Mean loss of the predicted label's probability, in [-1, 1].

    Attributes:
        lost_by_map: after deleting the highest cells of the map.
        lost_by_chance: after deleting as many random cells.
        lost_by_shape: after deleting the same shape elsewhere.
        map_beats_shape: share of tiles that lose more by the map than by the shape elsewhere.
    """

    n_tiles: int
    lost_by_map: float
    lost_by_chance: float
    lost_by_shape: float
    map_beats_shape: float


def measure_deletion(
    predictor: Predictor, tiles: Iterable[NDArray[np.uint8]], seed: int = 0
) -> Deletion:
    """Run the deletion test on every tile with the map of its predicted label.

    Args:
        predictor: runs the bundle.
        tiles: each uint8 `[side, side, 3]` RGB.
        seed: seed of the random cells.
    """
    rng = np.random.default_rng(seed)
    losses = []
    for tile in tiles:
        outputs = predictor.outputs(tile[np.newaxis])
        label = int(outputs.logits[0].argmax())
        cam = outputs.cam[0, :, :, label]
        n_deleted = round(DELETED_SHARE * cam.size)
        maps: list[NDArray[np.floating]] = [cam]
        maps += [rng.random(cam.shape) for _ in range(_N_RANDOM)]
        maps += [np.roll(cam, _shift(cam.shape, rng), (0, 1)) for _ in range(_N_RANDOM)]
        changed = [_delete_highest(tile, cells, n_deleted) for cells in maps]
        before, *after = predictor.probabilities(np.stack([tile, *changed]))[:, label]
        by_chance, by_shape = np.mean(after[1 : 1 + _N_RANDOM]), np.mean(after[1 + _N_RANDOM :])
        losses.append(before - np.array([after[0], by_chance, by_shape]))
    by_map, by_chance, by_shape = np.array(losses).T
    return Deletion(
        n_tiles=len(losses),
        lost_by_map=float(by_map.mean()),
        lost_by_chance=float(by_chance.mean()),
        lost_by_shape=float(by_shape.mean()),
        map_beats_shape=float((by_map > by_shape).mean()),
    )


def _shift(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """A random cyclic shift by at least one cell (a map of one cell cannot move)."""
    rows, columns = shape
    cell = int(rng.integers(1, max(2, rows * columns)))
    return cell // columns, cell % columns


def _delete_highest(
    tile: NDArray[np.uint8], cells: NDArray[np.floating], n_deleted: int
) -> NDArray[np.uint8]:
    changed, mean_colour = tile.copy(), tile.mean(axis=(0, 1)).round().astype(np.uint8)
    rows, columns = cells.shape
    height, width = (length / n for length, n in zip(tile.shape[:2], (rows, columns), strict=True))
    for cell in np.argsort(-cells, axis=None, kind="stable")[:n_deleted]:
        row, column = divmod(int(cell), columns)
        top, bottom = round(row * height), round((row + 1) * height)
        left, right = round(column * width), round((column + 1) * width)
        changed[top:bottom, left:right] = mean_colour
    return changed
