"""Intervals of shares."""

from __future__ import annotations

from typing import Final

_TAIL: Final = 0.025


def binomial_interval(n_hits: int, n_tiles: int) -> tuple[float, float]:
    """95 % interval of a share that was counted (Clopper & Pearson 1934): never too narrow."""
    from scipy.stats import beta

    low = 0.0 if n_hits == 0 else float(beta.ppf(_TAIL, n_hits, n_tiles - n_hits + 1))
    high = 1.0 if n_hits == n_tiles else float(beta.ppf(1 - _TAIL, n_hits + 1, n_tiles - n_hits))
    return low, high
