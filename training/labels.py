"""The three labels of the model and the four of the collection's table."""

from __future__ import annotations

from typing import Final, Literal

from app.core.manifest import Label

MixedTiles = Literal["viable", "exclude", "non_viable"]
"""What becomes of a tile that shows both; `viable` is how the published counts were made."""

LABELS: Final = (
    Label(id="non_tumor", name="Non-Tumor", is_tumor=False),
    Label(id="non_viable_tumor", name="Non-Viable Tumor", is_tumor=True),
    Label(id="viable_tumor", name="Viable Tumor", is_tumor=True),
)
"""In the order of the logits."""
LABEL_IDS: Final = tuple(label.id for label in LABELS)
TUMOR_CLASSES: Final = tuple(i for i, label in enumerate(LABELS) if label.is_tumor)

_LABEL_BY_RAW: Final = {
    "Non-Tumor": "non_tumor",
    "Non-Viable-Tumor": "non_viable_tumor",
    "Viable": "viable_tumor",
}
MIXED_RAW_LABEL: Final = "viable: non-viable"
_LABEL_OF_MIXED: Final[dict[MixedTiles, str | None]] = {
    "viable": "viable_tumor",
    "exclude": None,
    "non_viable": "non_viable_tumor",
}
RAW_LABELS: Final = (*_LABEL_BY_RAW, MIXED_RAW_LABEL)


def label_id_of(raw_label: str, mixed_tiles: MixedTiles) -> str | None:
    """Label id of a table's classification; None for a mixed tile that is to be excluded.

    Raises:
        ValueError: the table's word is not one of `RAW_LABELS`.
    """
    if raw_label == MIXED_RAW_LABEL:
        return _LABEL_OF_MIXED[mixed_tiles]
    if raw_label not in _LABEL_BY_RAW:
        raise ValueError(f"{raw_label!r} is none of {', '.join(RAW_LABELS)}")
    return _LABEL_BY_RAW[raw_label]
