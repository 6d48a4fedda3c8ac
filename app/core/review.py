"""Why a person should look at a tile before its answer is used."""

from __future__ import annotations

from enum import StrEnum


class ReviewReason(StrEnum):
    """Stable codes in answers, logs and metrics; `docs/trust.md` explains each."""

    LOW_PROBABILITY = "low_probability"
    AMBIGUOUS = "ambiguous"
    BLANK = "blank"
    BLURRED = "blurred"
    NOT_TISSUE = "not_tissue"
    OUT_OF_DISTRIBUTION = "out_of_distribution"
    NOT_SQUARE = "not_square"
    TOO_SMALL = "too_small"
    DAMAGED = "damaged"
