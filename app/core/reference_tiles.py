"""Distance of a tile from the training tiles, by nearest neighbours of its embedding.

Sun et al. 2022 (ICML, arXiv:2204.06507). The distance is the cosine distance, because the length
of an embedding measures how much detail an image has, not which tissue it shows.
docs/decisions/0037-input-gate.md compares it with a Mahalanobis distance, which performs worse.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from app.core.bundle_errors import ManifestError

REFERENCE_NAME: Final = "reference.npz"
"""The bundle's file of training tile embeddings."""
N_NEIGHBOURS: Final = 3
_TINY: Final = 1e-12
# Exceptions that NumPy and zipfile raise on damaged input.
_READ_ERRORS: Final = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)


class ReferenceTiles:
    """Embeddings of training tiles, normalised to unit length."""

    def __init__(self, embeddings: NDArray[np.floating]) -> None:
        """Normalise the embeddings.

        Args:
            embeddings: `[n, E]` of any float type; at least `N_NEIGHBOURS` rows.
        """
        self._directions = _directions(embeddings)

    @property
    def embedding_size(self) -> int:
        """Length of an embedding vector."""
        return int(self._directions.shape[1])

    def distance(self, embedding: NDArray[np.floating]) -> float:
        """Mean cosine distance of a float `[E]` to its nearest references, in [0, 2]."""
        return float(self.distances(embedding[np.newaxis])[0])

    def distances(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
        """Distances of embeddings float `[n, E]` as float32 `[n]`; NaN if one is not finite."""
        # Not `@`: a matrix product wakes a BLAS thread on every core, which then competes with the
        # workers. With 1,144 references it took 6 ms and doubled the time of the model's next run.
        cosines = np.vecdot(_directions(embeddings)[:, np.newaxis], self._directions)
        nearest = np.partition(cosines, -N_NEIGHBOURS, axis=1)[:, -N_NEIGHBOURS:]
        gaps: NDArray[np.float32] = 1.0 - nearest.mean(axis=1)
        return gaps

    def write(self, path: Path) -> None:
        """Write as float16, which changes a distance by less than 1e-3."""
        np.savez(path, directions=self._directions.astype(np.float16))


def read_reference(path: Path, content: bytes | None = None) -> ReferenceTiles:
    """Read what `ReferenceTiles.write` wrote.

    Args:
        path: the file in its bundle.
        content: the verified bytes of the file; it is read if they are None.

    Raises:
        ManifestError: the file is missing or contains something else.
    """
    shown = "/".join(path.parts[-3:])  # clients must not learn the server's folders
    try:
        stream = io.BytesIO(path.read_bytes() if content is None else content)
        # Not np.load, which also accepts .npy and pickle files.
        with NpzFile(stream, allow_pickle=False) as arrays:
            directions = np.asarray(arrays["directions"], dtype=np.float32)
    except _READ_ERRORS as error:
        raise ManifestError(shown, "it contains no embeddings of training tiles") from error
    if directions.ndim != 2 or len(directions) < N_NEIGHBOURS:
        raise ManifestError(shown, f"it must contain at least {N_NEIGHBOURS} embeddings")
    if not np.isfinite(directions).all():
        raise ManifestError(shown, "an embedding contains NaN or infinity")
    return ReferenceTiles(directions)


def _directions(embeddings: NDArray[np.floating]) -> NDArray[np.float32]:
    vectors = np.asarray(embeddings, dtype=np.float32)
    # NaN and infinity become NaN distances, which callers check for.
    with np.errstate(invalid="ignore", over="ignore"):
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        directions: NDArray[np.float32] = vectors / np.maximum(lengths, _TINY)
    return directions
