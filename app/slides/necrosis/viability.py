"""Which labels of a model are dead and viable tumour, and how often it took one for another.

The ratio of dead tumour needs three kinds of tissue. A model's labels are sorted into them by the
ids of the released model, and its confusion matrices are summed to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import Label, Manifest
from app.slides.results import ConfusionMethod

VIABLE_ID: Final = "viable_tumor"
NON_VIABLE_ID: Final = "non_viable_tumor"

Confusions = dict[ConfusionMethod, list[list[int]]]
"""Counts `[3][3]` of tiles by true and by answered kind of tissue, in the order of `Kind`."""


class Kind(IntEnum):
    """A kind of tissue; its value is its row and column in a matrix."""

    OTHER = 0
    NON_VIABLE = 1
    VIABLE = 2


N_KINDS: Final = len(Kind)
MEASURED_ON: Final[dict[ConfusionMethod, str]] = {
    "slide_confusion": "unseen slides",
    "patient_confusion": "unseen patients",
    "site_confusion": "the site's own tiles",
}
KIND_NAMES: Final = ("other tissue", "non-viable tumour", "viable tumour")


@dataclass(frozen=True, slots=True)
class Viability:
    """What the ratio needs to know of a model.

    Attributes:
        kinds: int64 `[C]`, the `Kind` of each label.
        confusions: what was measured of its errors, on slides and patients that it was not trained
            on and on the site's own tiles.
    """

    kinds: NDArray[np.int64]
    confusions: Confusions


def viability_of(manifest: Manifest) -> Viability | None:
    """Sort the labels of a model, if its tumour labels are exactly the two of the ratio.

    Returns:
        None if the model lacks one of the two, or has another label of tumour, which could be
        dead or alive.
    """
    if {label.id for label in manifest.labels if label.is_tumor} != {VIABLE_ID, NON_VIABLE_ID}:
        return None
    kinds = np.array([_kind(label) for label in manifest.labels], dtype=np.int64)
    confusions: Confusions = {}
    for split in manifest.metrics:
        if split.split == "slide":
            _add(confusions, "slide_confusion", split.confusion, kinds)
        elif split.split == "patient":
            _add(confusions, "patient_confusion", split.confusion, kinds)
    if manifest.recalibration and manifest.recalibration.confusion:
        _add(confusions, "site_confusion", manifest.recalibration.confusion, kinds)
    return Viability(kinds, confusions)


def missing_labels_reason(manifest: Manifest) -> str:
    """Why a model has no ratio, if `viability_of` is None."""
    tumor = ", ".join(label.id for label in manifest.labels if label.is_tumor) or "none"
    return (
        f"The ratio needs a model whose tumour labels are {VIABLE_ID} and {NON_VIABLE_ID}; this "
        f"one has {tumor}."
    )


def _kind(label: Label) -> Kind:
    if not label.is_tumor:
        return Kind.OTHER
    return Kind.VIABLE if label.id == VIABLE_ID else Kind.NON_VIABLE


def _add(
    confusions: Confusions,
    method: ConfusionMethod,
    confusion: Sequence[Sequence[int]],
    kinds: NDArray[np.int64],
) -> None:
    """Sum a confusion matrix of labels to kinds; one of another size says nothing."""
    counts = np.array(confusion, dtype=np.int64)
    if counts.shape != (len(kinds), len(kinds)) or not counts.any():
        return
    summed = np.zeros((N_KINDS, N_KINDS), dtype=np.int64)
    np.add.at(summed, (kinds[:, None], kinds[None, :]), counts)
    confusions[method] = summed.tolist()
