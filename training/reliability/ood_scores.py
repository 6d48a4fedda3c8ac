"""Compare the distances that were considered for the input gate on OOD samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from training.features.reference_tiles import choose_reference

Embeddings = NDArray[np.float32]
Distance = Callable[[Embeddings], NDArray[np.float32]]
_SHRINKAGE: Final = 0.2


def neighbour_distance(training: Embeddings) -> Distance:
    """Cosine distance to the nearest training tiles (Sun et al. 2022), which the service uses."""
    return choose_reference(training).distances


def mahalanobis_distance(training: Embeddings) -> Distance:
    """Mahalanobis distance (Lee et al. 2018) with a shrunk covariance (Ledoit & Wolf 2004).

    With fewer tiles than dimensions, the sample covariance has low rank. It is shrunk towards a
    multiple of the identity through its singular vectors and never built as a matrix.

    Args:
        training: float32 `[n, E]`.
    """
    mean = training.mean(axis=0)
    centred = training - mean
    n_tiles, n_dimensions = centred.shape
    variance = float((centred**2).sum()) / n_tiles / n_dimensions
    _, singular, axes = np.linalg.svd(centred, full_matrices=False)
    along = (1 - _SHRINKAGE) * singular**2 / n_tiles + _SHRINKAGE * variance

    def measure(embeddings: Embeddings) -> NDArray[np.float32]:
        offset = embeddings - mean
        projected = offset @ axes.T
        rest = np.maximum((offset**2).sum(axis=1) - (projected**2).sum(axis=1), 0.0)
        squared = (projected**2 / along).sum(axis=1) + rest / (_SHRINKAGE * variance)
        distances: NDArray[np.float32] = np.sqrt(squared).astype(np.float32)
        return distances

    return measure


METHODS: Final[Mapping[str, Callable[[Embeddings], Distance]]] = {
    "nearest neighbours (cosine)": neighbour_distance,
    "Mahalanobis (shrunk covariance)": mahalanobis_distance,
}


def compare_distances(
    training: Embeddings, slides: NDArray[np.str_], ood_samples: Mapping[str, Embeddings]
) -> dict[str, dict[str, float]]:
    """By method and kind, the share of OOD samples that lie farther away than every real tile.

    Args:
        training: float32 `[n, E]`.
        slides: slide names `[n]`; a real tile's distance is measured to the tiles of other slides.
        ood_samples: float32 `[m, E]` by kind.
    """
    compared = {}
    for name, method in METHODS.items():
        farthest = max(
            float(method(training[slides != slide])(training[slides == slide]).max())
            for slide in np.unique(slides)
        )
        measure = method(training)
        compared[name] = {
            kind: float((measure(embeddings) > farthest).mean())
            for kind, embeddings in ood_samples.items()
        }
    return compared
