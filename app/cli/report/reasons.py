"""The reasons for review in the words of `docs/trust.md`, for readers of a report."""

from __future__ import annotations

from typing import Final

from app.core.review import ReviewReason

REASONS: Final = {
    ReviewReason.LOW_PROBABILITY: "No label is probable enough.",
    ReviewReason.AMBIGUOUS: "The prediction set contains several labels.",
    ReviewReason.BLANK: "The tile is nearly empty: hardly any pixel absorbs light, or grey levels "
    "hardly differ.",
    ReviewReason.BLURRED: "The tile is blurred: its details hardly vary.",
    ReviewReason.NOT_TISSUE: "The colours are not those of haematoxylin and eosin in the training "
    "tiles.",
    ReviewReason.OUT_OF_DISTRIBUTION: "The tile is unlike the training tiles.",
    ReviewReason.NOT_SQUARE: "The tile is not square: the model sees only its centre.",
    ReviewReason.TOO_SMALL: "The tile is small: it had to be enlarged.",
    ReviewReason.DAMAGED: "The file is damaged: part of the tile was replaced or skipped.",
}
"""A sentence for each reason."""
