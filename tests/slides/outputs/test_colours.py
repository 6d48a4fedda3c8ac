from __future__ import annotations

from itertools import combinations, product

import numpy as np
import pytest

from app.core.manifest import Label
from app.slides.outputs.colours import (
    EXCLUDED,
    MIN_OPACITY,
    Rgb,
    hexadecimal,
    label_colours,
    opacity_of,
)
from tests.bundles import LABELS
from tests.inference.vision import VISIONS, lab

OPACITIES = (MIN_OPACITY, 0.7, 1.0)


def _label(label_id: str, colour: str | None = None) -> Label:
    return Label(id=label_id, name=label_id, is_tumor=True, colour=colour)


def _over_white(colour: Rgb, opacity: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return opacity * np.array(colour, float) + (1 - opacity) * 255


@pytest.mark.parametrize("vision", sorted(VISIONS))
def test_label_colours_differ_at_every_opacity_for_every_vision(vision: str) -> None:
    colours = [*label_colours(LABELS), EXCLUDED]
    for a, b in combinations(colours, 2):
        for strong, weak in product(OPACITIES, OPACITIES):
            pair = np.stack([_over_white(a, strong), _over_white(b, weak)])
            first, second = lab(pair, vision)
            if EXCLUDED in (a, b) and (strong, weak)[b == EXCLUDED] < 0.9:
                continue  # the lines of a hatching are nearly opaque
            assert np.linalg.norm(first - second) > 15, (a, b, strong, weak)


def test_label_colours_stay_with_the_meaning_when_the_order_changes() -> None:
    there, back = label_colours(LABELS), label_colours(LABELS[::-1])
    assert there == back[::-1]
    assert len(set(there)) == 3


def test_label_colours_are_the_manifests_if_it_has_some() -> None:
    labels = [_label("a", "#0102ff"), _label("b")]
    assert label_colours(labels)[0] == (1, 2, 255)
    assert hexadecimal(label_colours(labels)[0]) == "#0102ff"


def test_label_colours_of_other_labels_are_not_those_taken() -> None:
    labels = [*LABELS, *map(_label, "abcd")]
    assert len(set(label_colours(labels))) == 7
    assert len(label_colours([*labels, *map(_label, "efghijk")])) == 14


def test_opacity_rises_from_chance_to_certainty() -> None:
    assert opacity_of(1 / 3, 3) == MIN_OPACITY
    assert opacity_of(1.0, 3) == 1.0
    assert MIN_OPACITY < opacity_of(0.5, 3) < opacity_of(0.9, 3) < 1
