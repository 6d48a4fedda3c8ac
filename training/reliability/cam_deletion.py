"""Do the maps point at what decides? Grey their highest fifth and see what is lost.

The deletion test of Petsiuk et al. 2018 (RISE, arXiv:1806.07421) at one point of its curve, held
against greying as many places at random, and against the same shape elsewhere: scattered squares
do harm by their many edges alone, so the second comparison is the fairer one. Grey is the tile's
own mean colour, which is less of a foreign body than a neutral one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from training.reliability.predictor import Predictor

DELETED_SHARE: Final = 0.2
_N_RANDOM: Final = 5


class Deletion(BaseModel):
    """Mean probability that the predicted label lost, in [-1, 1]."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_tiles: int
    lost_by_map: float
    lost_by_chance: float
    lost_by_shape: float
    map_beats_shape: float


def measure_deletion(
    predictor: Predictor, tiles: Iterable[NDArray[np.uint8]], seed: int = 0
) -> Deletion:
    """Grey each tile where its predicted label's map is highest, and as much at random.

    Args:
        predictor: the bundle.
        tiles: each uint8 `[side, side, 3]`.
        seed: of the random places.
    """
    rng = np.random.default_rng(seed)
    lost = []
    for tile in tiles:
        outputs = predictor.outputs(tile[np.newaxis])
        label = int(outputs.logits[0].argmax())
        cam = outputs.cam[0, :, :, label]
        n_deleted = round(DELETED_SHARE * cam.size)
        maps: list[NDArray[np.floating]] = [cam]
        maps += [rng.random(cam.shape) for _ in range(_N_RANDOM)]
        maps += [np.roll(cam, _shift(cam.shape, rng), (0, 1)) for _ in range(_N_RANDOM)]
        greyed = [_grey_highest(tile, places, n_deleted) for places in maps]
        kept = predictor.probabilities(np.stack([tile, *greyed]))[:, label]
        by_chance, by_shape = kept[2 : 2 + _N_RANDOM].mean(), kept[2 + _N_RANDOM :].mean()
        lost.append(kept[0] - np.array([kept[1], by_chance, by_shape]))
    by_map, by_chance, by_shape = np.array(lost).T
    return Deletion(
        n_tiles=len(lost),
        lost_by_map=float(by_map.mean()),
        lost_by_chance=float(by_chance.mean()),
        lost_by_shape=float(by_shape.mean()),
        map_beats_shape=float((by_map > by_shape).mean()),
    )


def _shift(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[int, int]:
    """A move by at least one place, round the edges; a map of one place stays as it is."""
    rows, columns = shape
    place = int(rng.integers(1, max(2, rows * columns)))
    return place // columns, place % columns


def _grey_highest(
    tile: NDArray[np.uint8], places: NDArray[np.floating], n_deleted: int
) -> NDArray[np.uint8]:
    greyed, grey = tile.copy(), tile.mean(axis=(0, 1)).round().astype(np.uint8)
    rows, columns = places.shape
    height, width = (length / n for length, n in zip(tile.shape[:2], (rows, columns), strict=True))
    for place in np.argsort(-places, axis=None, kind="stable")[:n_deleted]:
        row, column = divmod(int(place), columns)
        top, bottom = round(row * height), round((row + 1) * height)
        left, right = round(column * width), round((column + 1) * width)
        greyed[top:bottom, left:right] = grey
    return greyed
