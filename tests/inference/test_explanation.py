from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.inference.explanation import MAX_GLASS_SHARE, explain_map
from app.inference.results import Explanation

CORNER = np.zeros((7, 7), np.float32)
CORNER[0, 0] = 2.5
TISSUE = np.zeros((7, 7), np.float32)

maps = arrays(np.float32, (7, 7), elements=st.floats(-1e6, 1e6, width=32))


@given(maps)
def test_evidence_is_the_positive_part_relative_to_the_maximum(cam: NDArray[np.float32]) -> None:
    explanation = explain_map("viable_tumor", cam, TISSUE, None)
    if cam.max() <= 0:
        assert (explanation.status, explanation.grid) == ("unavailable", None)
        assert explanation.max_logit is None
        assert explanation.reason == "the tile holds no evidence for viable_tumor"
        return
    assert (explanation.status, explanation.reason) == ("available", None)
    assert explanation.max_logit == pytest.approx(cam.max(), rel=1e-6, abs=5e-5)
    grid = np.array(explanation.grid)
    assert grid.max() == 1
    assert np.allclose(grid, np.maximum(cam, 0) / cam.max(), atol=6e-5)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf, -np.inf])
def test_map_without_evidence_is_unavailable(value: float) -> None:
    explanation = explain_map("non_tumor", np.full((7, 7), value, np.float32), TISSUE, None)
    assert (explanation.status, explanation.grid) == ("unavailable", None)
    assert explanation.label == "non_tumor"
    assert explanation.reason


def test_map_with_one_nan_is_unavailable() -> None:
    cam = CORNER.copy()
    cam[3, 3] = np.nan
    assert explain_map("non_tumor", cam, TISSUE, None).status == "unavailable"


def test_obstacle_becomes_the_reason() -> None:
    explanation = explain_map("non_tumor", CORNER, TISSUE, "it is a photograph")
    assert (explanation.status, explanation.grid) == ("unavailable", None)
    assert explanation.reason == "it is a photograph"


def test_numbers_in_json_are_as_short_as_they_are_rounded() -> None:
    cam = np.array([[1.0, 0.1234], [0.3333, 0.0]], np.float32)
    document = json.loads(explain_map("non_tumor", cam, TISSUE[:2, :2], None).model_dump_json())
    assert document["grid"] == [[1.0, 0.1234], [0.3333, 0.0]]


def test_glass_share_is_the_evidence_on_glass_over_all_evidence() -> None:
    cam = np.array([[4.0, 1.0], [-9.0, 0.0]], np.float32)  # evidence against the label is none
    glass = np.array([[0.25, 0.5], [1.0, 1.0]], np.float32)
    explanation = explain_map("non_tumor", cam, glass, None)
    assert explanation.glass_share == pytest.approx((4 * 0.25 + 1 * 0.5) / 5)
    assert explanation.glass == glass.tolist()
    assert explanation.grid == [[1.0, 0.25], [0.0, 0.0]]  # as it is, also on glass


@given(maps, arrays(np.float32, (7, 7), elements=st.floats(0, 1, width=32)))
def test_glass_share_can_be_computed_from_the_answer(
    cam: NDArray[np.float32], glass: NDArray[np.float32]
) -> None:
    explanation = explain_map("non_tumor", cam, glass, None)
    if explanation.grid is None:
        return
    grid, shares = np.array(explanation.grid), np.array(explanation.glass)
    assert explanation.glass_share == pytest.approx((grid * shares).sum() / grid.sum(), abs=5e-3)


@pytest.mark.parametrize(
    ("glass_share", "status"), [(0.0, "available"), (0.89, "available"), (0.91, "unavailable")]
)
def test_map_on_glass_is_unavailable(glass_share: float, status: str) -> None:
    glass = np.full((7, 7), glass_share, np.float32)
    explanation = explain_map("viable_tumor", CORNER, glass, None)
    assert explanation.status == status
    assert explanation.glass_share == pytest.approx(glass_share)
    assert (explanation.grid is None) == (explanation.glass is None) == (status == "unavailable")
    if status == "unavailable":
        assert explanation.reason == "91% of the evidence for viable_tumor lies on glass"


def test_description_states_the_limit() -> None:
    description = Explanation.model_fields["glass_share"].description
    assert f"Above {MAX_GLASS_SHARE:g} the map is unavailable" in str(description)
