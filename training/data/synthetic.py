"""Add synthetic tiles to training folds, without leaking test tiles.

A generator partly copies the tiles it was trained on. Its tiles may therefore train a model only if
that model is trained on all of those tiles too, and a synthetic tile is never a test tile.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.console.plural import plural
from training.data.groups import Groups
from training.data.tiles import Tiles
from training.errors import LeakError


@dataclass(frozen=True, slots=True)
class SyntheticPart:
    """The synthetic tiles of one fold.

    Attributes:
        train: positions of the real tiles that the fold trains on.
        seen: positions of the real tiles that the generator was trained on.
        tiles: uint8 `[m, side, side, 3]` RGB, at the generator's size.
        class_indices: int64 `[m]`, positions of the labels.
    """

    train: frozenset[int]
    seen: frozenset[int]
    tiles: NDArray[np.uint8]
    class_indices: NDArray[np.int64]


class SyntheticTiles:
    """Synthetic tiles of all folds, at the positions after the real ones."""

    def __init__(self, n_real: int, parts: Sequence[SyntheticPart], side_px: int) -> None:
        """Check that no part leaks.

        Args:
            n_real: number of real tiles, which is the position of the first synthetic one.
            parts: one for each fold.
            side_px: side of the network's input in pixels.

        Raises:
            LeakError: a generator saw a tile that its fold does not train on.
        """
        for part in parts:
            outside = part.seen - part.train
            if outside:
                raise LeakError(
                    f"A generator saw {plural(len(outside), 'tile')} that the model is not trained "
                    "on. Fit a generator for this fold with 'osteo-train gan fit --split'."
                )
        self.n_real = n_real
        self._parts, self._side_px = tuple(parts), side_px

    @property
    def sha256s(self) -> tuple[str, ...]:
        """SHA-256 of each synthetic tile's pixels, in order."""
        tiles = (tile for part in self._parts for tile in part.tiles)
        return tuple(hashlib.sha256(tile.tobytes()).hexdigest() for tile in tiles)

    def appended_to(
        self, tiles: Tiles, class_indices: NDArray[np.int64], groups: Groups | None
    ) -> tuple[Tiles, NDArray[np.int64], Groups | None]:
        """Append the synthetic tiles with their labels and groups to the real ones.

        All synthetic tiles form one additional slide and one additional case. Each is enlarged to
        `side_px` when it is read.
        """
        labels = [part.class_indices for part in self._parts]
        n_synthetic = sum(map(len, labels))
        if groups is not None:
            groups = replace(
                groups,
                slides=np.append(groups.slides, [groups.slides.max() + 1] * n_synthetic),
                cases=np.append(groups.cases, [groups.cases.max() + 1] * n_synthetic),
            )
        synthetic = [tile for part in self._parts for tile in part.tiles]
        all_tiles = _RealThenSynthetic(tiles, synthetic, self._side_px)
        return all_tiles, np.concatenate([class_indices, *labels]), groups

    def added_to(self, train: NDArray[np.int64], test: NDArray[np.int64]) -> NDArray[np.int64]:
        """Append the positions of the fold's synthetic tiles to its training positions.

        Args:
            train: positions of the real training tiles, int64 `[n_train]`.
            test: positions of the test tiles, int64 `[n_test]`.

        Raises:
            LeakError: a synthetic tile would be tested, or there is no generator for this fold.
        """
        if np.concatenate([train, test]).max(initial=-1) >= self.n_real:
            raise LeakError("A fold names a synthetic tile; folds may hold real tiles only.")
        start = self.n_real
        wanted = frozenset(train.tolist())
        for part in self._parts:
            end = start + len(part.tiles)
            if part.train == wanted:
                return np.concatenate([train, np.arange(start, end)])
            start = end
        raise LeakError(
            "No generator was found for this fold, so synthetic tiles could leak test tiles. Fit "
            "one with 'osteo-train gan fit --split'."
        )


class _RealThenSynthetic:
    """Real tiles, then synthetic ones, which are enlarged (bicubic) when they are read."""

    def __init__(self, real: Tiles, synthetic: Sequence[NDArray[np.uint8]], side_px: int) -> None:
        self._real, self._synthetic, self._side_px = real, synthetic, side_px

    def __len__(self) -> int:
        return len(self._real) + len(self._synthetic)

    def __getitem__(self, position: int, /) -> NDArray[np.uint8]:
        if position < len(self._real):
            return self._real[position]
        tile = Image.fromarray(self._synthetic[position - len(self._real)])
        size = (self._side_px, self._side_px)
        return np.asarray(tile.resize(size, Image.Resampling.BICUBIC))
