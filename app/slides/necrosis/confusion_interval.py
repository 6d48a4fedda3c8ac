"""The ratio that the answers point to, given how often a model took one kind for another.

Rogan & Gladen (1978) correct the share of positive answers of a test by its sensitivity and
specificity: the answers are the true shares times the confusion matrix, so multiplying by its
inverse recovers the true shares. The matrix comes from few tiles, so it is uncertain itself (Lang &
Reiczigel 2014). Here each of its rows is drawn from a Dirichlet posterior (Gelman & Carpenter 2020
for a test of two outcomes; Pérez et al. 2007 for several), and the true shares are the nearest that
are not negative.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.slides.necrosis.block_bootstrap import LEVEL
from app.slides.necrosis.viability import Kind

PRIOR: Final = 0.5
"""Added to each cell of the confusion: the prior of Jeffreys (1946)."""
_MIN_TUMOR_SHARE: Final = 1e-3
"""Below this true share of tumour, a draw says nothing of the ratio."""
_SEED: Final = 1978
_RIDGE: Final = 1e-12
"""Added to the diagonal, so that a singular matrix has an inverse; the edges are then nearer."""


def confusion_interval(
    shares: NDArray[np.float64], confusion: Sequence[Sequence[int]]
) -> tuple[float, float]:
    """Interval of the true ratio.

    Args:
        shares: shares of the kinds among the answers, one row for each draw of the tiles, float64
            `[n, 3]`; rows sum to 1.
        confusion: counts of tiles by true and by answered kind, `[3][3]`.

    Returns:
        Low and high end at `LEVEL`, in [0, 1].
    """
    counts = np.array(confusion, dtype=np.float64)
    # A model with tumour labels only never answers with another kind, and has no such tissue.
    kinds = [kind for kind in Kind if kind != Kind.OTHER or _has(Kind.OTHER, counts, shares)]
    drawn = _draw_confusions(counts[np.ix_(kinds, kinds)], len(shares))
    true_shares = solve_shares(shares[:, kinds], drawn)
    dead, alive = (true_shares[:, kinds.index(kind)] for kind in (Kind.NON_VIABLE, Kind.VIABLE))
    tumor = dead + alive
    is_known = tumor >= _MIN_TUMOR_SHARE
    ratio = np.divide(dead, tumor, out=np.zeros_like(dead), where=is_known)
    tail = (1 - LEVEL) / 2
    low = np.quantile(np.where(is_known, ratio, 0.0), tail)
    high = np.quantile(np.where(is_known, ratio, 1.0), 1 - tail)
    return float(low), float(high)


def solve_shares(
    shares: NDArray[np.float64], confusions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The true shares whose answers come nearest to those that were seen (least squares).

    Args:
        shares: of the answers, float64 `[n, K]`; rows sum to 1. K is 2 or 3.
        confusions: probability of each answer by true kind, float64 `[n, K, K]`; rows sum to 1.

    Returns:
        float64 `[n, K]`, in [0, 1]; rows sum to 1.
    """
    n_kinds = shares.shape[1]
    transposed = confusions.transpose(0, 2, 1) + _RIDGE * np.eye(n_kinds)
    best = np.linalg.solve(transposed, shares[..., None])[..., 0]
    is_outside = (best < 0).any(axis=1)
    if is_outside.any():
        best[is_outside] = _nearest_on_edges(shares[is_outside], confusions[is_outside])
    total: NDArray[np.float64] = best / best.sum(axis=1, keepdims=True)
    return total


def _nearest_on_edges(
    shares: NDArray[np.float64], confusions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The best mixture of two kinds: the squared error is convex, so it lies on an edge."""
    n, n_kinds = shares.shape
    best, least = np.zeros((n, n_kinds)), np.full(n, np.inf)
    for first in range(n_kinds):
        for second in range(first + 1, n_kinds):
            one, other = confusions[:, first], confusions[:, second]
            apart = one - other
            length = np.maximum((apart**2).sum(axis=1), np.finfo(np.float64).tiny)
            part = (((shares - other) * apart).sum(axis=1) / length).clip(0, 1)
            error = ((other + part[:, None] * apart - shares) ** 2).sum(axis=1)
            is_better = error < least
            least[is_better] = error[is_better]
            best[is_better] = 0
            best[is_better, first] = part[is_better]
            best[is_better, second] = 1 - part[is_better]
    return best


def _has(kind: Kind, counts: NDArray[np.float64], shares: NDArray[np.float64]) -> bool:
    return bool(counts[kind].any() or counts[:, kind].any() or shares[:, kind].any())


def _draw_confusions(counts: NDArray[np.float64], n_draws: int) -> NDArray[np.float64]:
    """Confusion matrices from the posterior of each row, float64 `[n_draws, K, K]`."""
    generator = np.random.default_rng(_SEED)
    gammas = generator.standard_gamma(counts + PRIOR, size=(n_draws, *counts.shape))
    drawn: NDArray[np.float64] = gammas / gammas.sum(axis=2, keepdims=True)
    return drawn
