"""Splits: which tiles test a model that was not trained on the tile, its slide or its patient.

- `random`: stratified by label. One fold is the seed paper's 90/10 hold-out; ten folds are ten such
  hold-outs that test every tile once. Neighbouring tiles of a slide fall on both sides, so the
  result is optimistic.
- `slide`: no slide is on both sides; labels are balanced as far as slides allow.
- `patient`: each case is left out in turn.

With a footprint, `random` keeps tiles together that overlap, directly or through others. Then no
tissue is on both sides, but the stain of each slide still is.

A split is a JSON file that names the test tiles of each fold. The SHA-256 of the file identifies
the split; the file holds the SHA-256 of the index it belongs to.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import SerializerFunctionWrapHandler, ValidationError, model_serializer

from app.core.manifest import SplitKind
from training.console.plural import plural
from training.data.index import Index, IndexedTile
from training.data.overlaps import overlap_groups
from training.errors import SplitError
from training.storage.frozen_model import FrozenModel

TEST_FRACTION: Final = 0.1
"""Fraction of the tiles that a random split with one fold tests, as in the seed paper."""


class Fold(FrozenModel):
    """The names of a fold's test tiles; all other tiles of the index are for training."""

    name: str
    test: tuple[str, ...]


class Split(FrozenModel):
    """Folds over one index.

    `seed` is null if nothing is drawn at random. `footprint_px` is present if a random split keeps
    overlapping tiles of that side together.
    """

    schema_version: Literal[1] = 1
    kind: SplitKind
    seed: int | None
    index_sha256: str
    folds: tuple[Fold, ...]
    footprint_px: int | None = None

    @model_serializer(mode="wrap")
    def _without_null(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Omit a null `footprint_px`, so that files of older splits keep their SHA-256."""
        document: dict[str, Any] = serialize(self)
        if self.footprint_px is None:
            del document["footprint_px"]
        return document


def make_split(
    index: Index,
    index_sha256: str,
    kind: SplitKind,
    n_folds: int = 5,
    seed: int = 0,
    footprint_px: int | None = None,
) -> Split:
    """Make a split; the same arguments make the same split.

    Args:
        index: the tiles.
        index_sha256: SHA-256 of the index file.
        kind: what must not be on both sides.
        n_folds: `random` takes 1 for one 90/10 hold-out; `patient` always has one fold per case.
        seed: for `random` and `slide`.
        footprint_px: keep overlapping tiles of this side together in a random split; splits by
            slide and by patient always do.

    Raises:
        SplitError: there are too few tiles, slides or cases for this number of folds, or the
            slides, cases or corners are unknown.
    """
    parts = [
        sorted(test.tolist()) for test in _test_parts(index, kind, n_folds, seed, footprint_px)
    ]
    tiles = index.tiles
    if not all(parts):
        raise SplitError(f"The groups cannot be distributed over {n_folds} folds. Use fewer folds.")
    return Split(
        kind=kind,
        seed=None if kind == "patient" else seed,
        index_sha256=index_sha256,
        folds=tuple(
            Fold(name=_fold_name(kind, i, part, tiles), test=tuple(tiles[t].name for t in part))
            for i, part in enumerate(parts)
        ),
        footprint_px=footprint_px if kind == "random" else None,
    )


def possible_kinds(index: Index) -> tuple[SplitKind, ...]:
    """The kinds of split that can be made, in the order of the reports."""
    known: dict[SplitKind, bool] = {
        "random": True,
        "slide": index.knows_slides,
        "patient": index.knows_cases,
    }
    return tuple(kind for kind, is_known in known.items() if is_known)


def require_corners(index: Index) -> None:
    """Reject an index in which overlapping tiles cannot be found.

    Raises:
        SplitError: slide, x or y of a tile is unknown.
    """
    if not index.knows_corners:
        raise SplitError(
            "Overlaps cannot be found, because slide, x and y of the tiles are unknown. Add these "
            "columns to the table and make the index again, or leave out --overlaps."
        )


def _test_parts(
    index: Index, kind: SplitKind, n_folds: int, seed: int, footprint_px: int | None
) -> Iterator[NDArray[np.int64]]:
    """Positions of each fold's test tiles, after checking that the folds can be made."""
    from sklearn.model_selection import (
        LeaveOneGroupOut,
        StratifiedGroupKFold,
        StratifiedKFold,
        StratifiedShuffleSplit,
    )

    _require_groups(index, kind)
    labels, counts = np.array(index.labels), Counter(index.labels).values()
    # In a random split each tile is its own group.
    group_of = {"random": "name", "slide": "slide", "patient": "case"}[kind]
    groups = np.array([getattr(tile, group_of) for tile in index.tiles])
    if kind == "patient":
        _require(len(set(groups)), 2, "case")
        method = LeaveOneGroupOut()
    elif kind == "slide":
        _require_folds(n_folds)
        _require(len(set(groups)), n_folds, "slide")
        _require(max(counts, default=0), n_folds, "tile", " of the most frequent label")
        method = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    elif footprint_px is not None:
        require_corners(index)
        groups = overlap_groups(index.tiles, footprint_px)
        n_parts = n_folds if n_folds > 1 else round(1 / TEST_FRACTION)
        _require_folds(n_parts)
        _require(len(set(groups)), n_parts, "group", " of overlapping tiles")
        _require(max(counts, default=0), n_parts, "tile", " of the most frequent label")
        method = StratifiedGroupKFold(n_parts, shuffle=True, random_state=seed)
    elif n_folds == 1:
        n_test = max(math.ceil(TEST_FRACTION * len(labels)), len(counts))
        _require(min(counts, default=0), 2, "tile", " of the rarest label")
        _require(len(labels) - n_test, len(counts), "tile", " to train on")
        method = StratifiedShuffleSplit(1, test_size=n_test, random_state=seed)
    else:
        _require_folds(n_folds)
        _require(min(counts, default=0), n_folds, "tile", " of the rarest label")
        method = StratifiedKFold(n_folds, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # Small collections have labels with fewer tiles than there are folds.
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        warnings.filterwarnings("ignore", "The groups parameter is ignored", UserWarning)
        parts = (test for _, test in method.split(labels, labels, groups))
        # If groups must stay whole, the hold-out of a tenth is the first of ten folds.
        yield from itertools.islice(parts, 1) if kind == "random" and n_folds == 1 else parts


def fold_positions(index: Index, fold: Fold) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Positions in `index.tiles` of a fold's (training, test) tiles, both int64 `[n]`, ascending.

    Raises:
        SplitError: the fold tests a tile that the index does not hold.
    """
    position = {tile.name: i for i, tile in enumerate(index.tiles)}
    missing = [name for name in fold.test if name not in position]
    if missing:
        raise SplitError(f"Fold {fold.name} tests {missing[0]}, which the index does not hold.")
    test = np.array(sorted(position[name] for name in fold.test), dtype=np.int64)
    return np.setdiff1d(np.arange(len(index.tiles)), test), test


def read_split(path: Path, index_sha256: str) -> tuple[Split, str]:
    """Read a split of a given index.

    Returns:
        The split and the SHA-256 of its file.

    Raises:
        SplitError: there is no such file, it is not a split, or it splits another index.
    """
    try:
        content = path.read_bytes()
        split = Split.model_validate_json(content)
    except OSError as error:
        raise SplitError(f"{path}: {error.strerror}. Make one with 'osteo-train split'.") from error
    except ValidationError as error:
        raise SplitError(f"{path} is not a split of this version.") from error
    if split.index_sha256 != index_sha256:
        raise SplitError(f"{path} splits another index. Make it again with 'osteo-train split'.")
    return split, hashlib.sha256(content).hexdigest()


def _fold_name(
    kind: SplitKind, number: int, part: Sequence[int], tiles: Sequence[IndexedTile]
) -> str:
    case = tiles[part[0]].case if kind == "patient" else None
    return case or f"fold {number + 1}"


def _require_groups(index: Index, kind: SplitKind) -> None:
    if kind not in possible_kinds(index):
        group, folders = {
            "slide": ("slide", "LABEL/SLIDE/TILE"),
            "patient": ("case", "LABEL/CASE/SLIDE/TILE"),
        }[kind]
        raise SplitError(
            f"The {group} of the tiles is unknown, so a split by {kind} cannot be made. Add a "
            f"column {group!r} to the table (or sort the tiles into folders {folders}) and make "
            "the index again, or use --kind random."
        )


def _require(found: int, needed: int, what: str, which: str = "") -> None:
    if found < needed:
        raise SplitError(
            f"The index holds {plural(found, what)}{which}; this split needs at least {needed}."
        )


def _require_folds(n_folds: int) -> None:
    if n_folds < 2:
        raise SplitError(f"Testing every tile takes at least 2 folds, not {n_folds}.")
