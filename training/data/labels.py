"""The collection's three labels, and the four classifications of its table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final, Literal

from app.core.manifest import Manifest
from training.data.label_set import LabelSet, TrainedLabel, comparable
from training.errors import DataError

MixedTiles = Literal["viable", "exclude", "non_viable"]
"""How a tile with viable and non-viable tumour is counted; the published counts use `viable`."""

COLLECTION_LABELS: Final = LabelSet(
    (
        TrainedLabel(id="non_tumor", name="Non-Tumor", tumor=False),
        TrainedLabel(
            id="non_viable_tumor",
            name="Non-Viable Tumor",
            tumor=True,
            aliases=("Non-Viable-Tumor",),
        ),
        TrainedLabel(id="viable_tumor", name="Viable Tumor", tumor=True, aliases=("Viable",)),
    )
)
"""The labels of a configuration without `[labels]`."""
LABELS: Final = COLLECTION_LABELS.for_manifest
LABEL_IDS: Final = COLLECTION_LABELS.ids

_MIN_TILES: Final = 2
"""One to train on and one to test on."""

MIXED_RAW_LABEL: Final = "viable: non-viable"
_LABEL_OF_MIXED: Final[dict[MixedTiles, str | None]] = {
    "viable": "viable_tumor",
    "exclude": None,
    "non_viable": "non_viable_tumor",
}
RAW_LABELS: Final = ("Non-Tumor", "Non-Viable-Tumor", "Viable", MIXED_RAW_LABEL)
"""The classifications of the collection's table."""


def labels_of(manifest: Manifest) -> LabelSet:
    """The labels that a bundle was trained on, with their aliases if it records them."""
    if "labels" in manifest.training:
        return LabelSet.model_validate(manifest.training["labels"])
    if manifest.label_ids == LABEL_IDS:
        return COLLECTION_LABELS
    return LabelSet(
        tuple(
            TrainedLabel(id=label.id, name=label.name, tumor=label.is_tumor, colour=label.colour)
            for label in manifest.labels
        )
    )


def label_id_of(
    raw_label: str, mixed_tiles: MixedTiles, labels: LabelSet = COLLECTION_LABELS
) -> str | None:
    """Label id of a classification in a table; None for a mixed tile if those are excluded.

    Raises:
        ValueError: no label has this id, name or alias.
    """
    label_id = labels.find(raw_label)
    if label_id is None and is_mixed(raw_label):
        label_id = _LABEL_OF_MIXED[mixed_tiles]
        if label_id is None or label_id in labels.ids:
            return label_id
    if label_id is None or label_id not in labels.ids:
        known = RAW_LABELS if labels == COLLECTION_LABELS else labels.names
        raise ValueError(f"{raw_label!r} is not one of {', '.join(known)}")
    return label_id


def is_mixed(raw_label: str) -> bool:
    """Whether this is the collection's classification of tiles with both kinds of tumour."""
    return comparable(raw_label) == MIXED_RAW_LABEL


def require_every_label(found: Iterable[str], labels: LabelSet) -> None:
    """Fail early if a label has too few tiles for a fold to train on it and to test it.

    Args:
        found: label id of each tile.
        labels: the labels that the model learns.

    Raises:
        DataError: a label has fewer than two tiles.
    """
    counts = Counter(found)
    rare = [f"{counts[label]} of {label}" for label in labels.ids if counts[label] < _MIN_TILES]
    if rare:
        raise DataError(
            f"There are too few tiles of a label: {', '.join(rare)}. Training needs at least "
            f"{_MIN_TILES} of each label. Add tiles and make the index again."
        )
