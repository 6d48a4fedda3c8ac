"""The three labels of the model and the four of the collection's table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from app.core.manifest import Label
from training.errors import DataError

MixedTiles = Literal["viable", "exclude", "non_viable"]
"""How a tile with viable and non-viable tumour is counted; the published counts use `viable`."""

LABELS: Final = (
    Label(id="non_tumor", name="Non-Tumor", is_tumor=False),
    Label(id="non_viable_tumor", name="Non-Viable Tumor", is_tumor=True),
    Label(id="viable_tumor", name="Viable Tumor", is_tumor=True),
)
"""In the order of the logits."""
LABEL_IDS: Final = tuple(label.id for label in LABELS)
TUMOR_CLASSES: Final = tuple(i for i, label in enumerate(LABELS) if label.is_tumor)

_MIN_TILES: Final = 2
"""One to train on and one to test on."""

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
    """Label id of a classification in the table; None for a mixed tile if those are excluded.

    Raises:
        ValueError: the classification is not one of `RAW_LABELS`.
    """
    if raw_label == MIXED_RAW_LABEL:
        return _LABEL_OF_MIXED[mixed_tiles]
    if raw_label not in _LABEL_BY_RAW:
        raise ValueError(f"{raw_label!r} is not one of {', '.join(RAW_LABELS)}")
    return _LABEL_BY_RAW[raw_label]


def require_every_label(labels: Iterable[str]) -> None:
    """Fail early if a label has too few tiles for a fold to train on it and to test it.

    Args:
        labels: one per tile.

    Raises:
        DataError: a label has fewer than two tiles.
    """
    found = Counter(labels)
    rare = [f"{found[label]} of {label}" for label in LABEL_IDS if found[label] < _MIN_TILES]
    if rare:
        raise DataError(
            f"There are too few tiles of a label: {', '.join(rare)}. Training needs at least "
            f"{_MIN_TILES} of each label. Add tiles and make the index again."
        )
