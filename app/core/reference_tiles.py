"""How far a tile is from the tiles the model was trained on: nearest neighbours of its embedding.

Sun et al. 2022 (ICML, arXiv:2204.06507). The distance is of directions (cosine), since the length
of an embedding says how busy a picture is and not what it shows. docs/trust.md has the measurement
against a Mahalanobis distance, which it wins.
"""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from app.core.errors import ManifestError

REFERENCE_NAME: Final = "reference.npz"
"""The file of a bundle that holds the training tiles' embeddings."""
N_NEIGHBOURS: Final = 3
_KEY: Final = "directions"
_TINY: Final = 1e-12
# What NumPy and its zip file raise on damaged input.
_READ_ERRORS: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class ReferenceTiles:
    """Embeddings of training tiles, as directions."""

    def __init__(self, embeddings: NDArray[np.floating]) -> None:
        """Keep the directions.

        Args:
            embeddings: `[n, E]` of any float type and length; at least `N_NEIGHBOURS` rows.
        """
        self._directions = _directions(embeddings)

    @property
    def embedding_size(self) -> int:
        """Numbers in an embedding."""
        return int(self._directions.shape[1])

    def distance(self, embedding: NDArray[np.floating]) -> float:
        """Mean cosine distance of `embedding` `[E]` to its nearest references, in [0, 2]."""
        return float(self.distances(embedding[np.newaxis])[0])

    def distances(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """As `distance`, of `[n, E]` at once: float32 `[n]`."""
        # Not `@`: a matrix product wakes a BLAS thread on every core, which then spin beside the
        # workers. Of 1,144 references that took 6 ms, and twice the time of the model's next run.
        cosines = np.vecdot(_directions(embeddings)[:, np.newaxis], self._directions)
        nearest = np.partition(cosines, -N_NEIGHBOURS, axis=1)[:, -N_NEIGHBOURS:]
        gaps: NDArray[np.float32] = 1.0 - nearest.mean(axis=1)
        return gaps

    def write(self, path: Path) -> None:
        """Write as half precision, which changes a distance by less than 1e-3."""
        np.savez(path, **{_KEY: self._directions.astype(np.float16)})  # type: ignore[arg-type]


def read_reference(path: Path) -> ReferenceTiles:
    """Read what `ReferenceTiles.write` wrote.

    Raises:
        ManifestError: the file is missing or holds something else.
    """
    try:
        # Not np.load, which takes other kinds of files for what they are.
        with path.open("rb") as stream, NpzFile(stream, allow_pickle=False) as arrays:
            directions = np.asarray(arrays[_KEY], dtype=np.float32)
    except _READ_ERRORS as error:
        raise ManifestError(str(path), "it holds no embeddings of training tiles") from error
    if directions.ndim != 2 or len(directions) < N_NEIGHBOURS:
        raise ManifestError(str(path), f"it must hold at least {N_NEIGHBOURS} embeddings")
    if not np.isfinite(directions).all():
        raise ManifestError(str(path), "an embedding of a training tile is no number")
    return ReferenceTiles(directions)


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    vectors = np.asarray(embeddings, dtype=np.float32)
    # An embedding that is no number stays one, and its distance is none: callers look for that.
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        directions: NDArray[np.float32] = vectors / np.maximum(lengths, _TINY)
    return directions
