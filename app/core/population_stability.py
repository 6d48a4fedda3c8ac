"""Population stability index: how far a distribution has moved from a reference.

Index = sum over bins of (now - then) ln(now / then), the symmetric Kullback-Leibler divergence of
the two histograms. By convention, values below 0.1 are stable and values above 0.25 have moved.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

_PRIOR: Final = 0.5
"""Added to every bin's count (Jeffreys prior): an empty bin would make the index infinite."""


def bin_edges(values: ArrayLike, n_bins: int) -> tuple[float, ...]:
    """Inner edges of up to `n_bins` bins with about equal counts, ascending and distinct."""
    inner = np.linspace(0.0, 1.0, n_bins + 1)[1:-1]
    quantiles = np.quantile(np.asarray(values, dtype=np.float64), inner)
    return tuple(float(edge) for edge in np.unique(np.round(quantiles, 6)))


def bin_of(value: float, edges: Sequence[float]) -> int:
    """Index of the bin that contains a value, in [0, len(edges)]."""
    return bisect_right(edges, value)


def count_bins(values: ArrayLike, edges: Sequence[float]) -> NDArray[np.int64]:
    """Count the values in each bin: int64 `[len(edges) + 1]`."""
    bins = np.searchsorted(edges, np.asarray(values, dtype=np.float64), side="right")
    return np.bincount(bins, minlength=len(edges) + 1)


def stability_index(now: ArrayLike, then: ArrayLike) -> float:
    """The index of two histograms of counts over the same bins; 0 if their shares are equal."""
    shares = []
    for counts in (now, then):
        smoothed = np.asarray(counts, dtype=np.float64) + _PRIOR
        shares.append(smoothed / smoothed.sum())
    return float(((shares[0] - shares[1]) * np.log(shares[0] / shares[1])).sum())
