"""Synthetic tiles beside real ones: the door through which they enter training, and its guards.

A generator that saw a tile has, in a way, copied it. So its tiles may train a model only where
every tile it saw is trained on too; and a synthetic tile is never tested on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data.tiles import Tiles
from training.errors import LeakError
from training.fit.sampling import Groups


@dataclass(frozen=True, slots=True)
class SyntheticPart:
    """The synthetic tiles of one fold.

    Attributes:
        train: positions of the real tiles that the fold trains on.
        seen: positions of the real tiles that the generator saw.
        tiles: uint8 `[m, side, side, 3]`, as the generator makes them.
        class_indices: int64 `[m]`, positions in `LABELS`.
    """

    train: frozenset[int]
    seen: frozenset[int]
    tiles: NDArray[np.uint8]
    class_indices: NDArray[np.int64]


class SyntheticTiles:
    """Synthetic tiles of all folds, at the positions behind the real ones."""

    def __init__(self, n_real: int, parts: Sequence[SyntheticPart], side_px: int) -> None:
        """Take the parts as they are.

        Args:
            n_real: real tiles; the first synthetic one has this position.
            parts: one a fold.
            side_px: of the tiles that the network takes.

        Raises:
            LeakError: a generator saw a tile that its fold does not train on.
        """
        for part in parts:
            outside = part.seen - part.train
            if outside:
                raise LeakError(
                    f"A generator saw {len(outside)} tile(s) that the model is not trained on. Fit "
                    "one for this fold with 'osteo-train gan fit --split'."
                )
        self._n_real = n_real
        self._parts, self._side_px = tuple(parts), side_px

    @property
    def n_real(self) -> int:
        """Real tiles; every position from this one on is synthetic."""
        return self._n_real

    @property
    def sha256s(self) -> tuple[str, ...]:
        """Of each synthetic tile's pixels, in order."""
        tiles = (tile for part in self._parts for tile in part.tiles)
        return tuple(hashlib.sha256(tile.tobytes()).hexdigest() for tile in tiles)

    def appended_to(
        self, tiles: Tiles, class_indices: NDArray[np.int64], groups: Groups | None
    ) -> tuple[Tiles, NDArray[np.int64], Groups | None]:
        """Real tiles, labels and groups with those of the synthetic tiles behind them.

        All synthetic tiles are of one further slide and one further case. They are enlarged to
        `side_px` when they are asked for.
        """
        labels = [part.class_indices for part in self._parts]
        n_made = sum(map(len, labels))
        if groups is not None:
            groups = replace(
                groups,
                slides=np.append(groups.slides, [groups.slides.max() + 1] * n_made),
                cases=np.append(groups.cases, [groups.cases.max() + 1] * n_made),
            )
        made = [tile for part in self._parts for tile in part.tiles]
        together = _RealThenMade(tiles, made, self._side_px)
        return together, np.concatenate([class_indices, *labels]), groups

    def added_to(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.int64]:
        """Training positions with those of the fold's synthetic tiles behind them.

        Args:
            train: positions of the real training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`.

        Raises:
            LeakError: a synthetic tile would be tested, or none were made for this fold.
        """
        if np.concatenate([train, test]).max(initial=-1) >= self._n_real:
            raise LeakError("A fold names a synthetic tile; folds are made of real tiles only.")
        start = self._n_real
        wanted = frozenset(train.tolist())
        for part in self._parts:
            end = start + len(part.tiles)
            if part.train == wanted:
                return np.concatenate([train, np.arange(start, end)])
            start = end
        raise LeakError("No generator was found for this fold, so its tiles could leak.")


class _RealThenMade:
    """Real tiles as they come, and behind them made ones, enlarged (bicubic) when asked for."""

    def __init__(self, real: Tiles, made: Sequence[NDArray[np.uint8]], side_px: int) -> None:
        self._real, self._made, self._side_px = real, made, side_px

    def __len__(self) -> int:
        return len(self._real) + len(self._made)

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        if position < len(self._real):
            return self._real[position]
        tile = Image.fromarray(self._made[position - len(self._real)])
        size = (self._side_px, self._side_px)
        return np.asarray(tile.resize(size, Image.Resampling.BICUBIC))
