"""Slide and case of every tile, as the numbers that sampling works with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.index import Index
from training.data.places import Places


@dataclass(frozen=True, slots=True)
class Groups:
    """Slide and case of every tile, numbered from 0, int64 `[n]`; unknown ones all differ."""

    slides: NDArray[np.int64]
    cases: NDArray[np.int64]

    @classmethod
    def of(cls, index: Index) -> Groups:
        """The groups of an index, in its order."""
        return cls.of_places(Places.of(index))

    @classmethod
    def of_places(cls, places: Places) -> Groups:
        """The groups of named slides and cases."""
        return cls(_numbered(places.slides), _numbered(places.cases))


def _numbered(names: NDArray[np.str_]) -> NDArray[np.int64]:
    numbers: NDArray[Any] = np.unique(names, return_inverse=True)[1]
    return numbers.astype(np.int64)
