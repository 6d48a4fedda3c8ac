from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from app.inference.explanation import explain_map

CORNER = np.zeros((7, 7), np.float32)
CORNER[0, 0] = 2.5

maps = arrays(np.float32, (7, 7), elements=st.floats(-1e6, 1e6, width=32))


@given(maps)
def test_evidence_is_the_positive_part_relative_to_the_maximum(cam: NDArray[np.float32]) -> None:
    explanation = explain_map("viable_tumor", cam, None)
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
    explanation = explain_map("non_tumor", np.full((7, 7), value, np.float32), None)
    assert (explanation.status, explanation.grid) == ("unavailable", None)
    assert explanation.label == "non_tumor"
    assert explanation.reason


def test_map_with_one_nan_is_unavailable() -> None:
    cam = CORNER.copy()
    cam[3, 3] = np.nan
    assert explain_map("non_tumor", cam, None).status == "unavailable"


def test_obstacle_becomes_the_reason() -> None:
    explanation = explain_map("non_tumor", CORNER, "it is a photograph")
    assert (explanation.status, explanation.grid) == ("unavailable", None)
    assert explanation.reason == "it is a photograph"


def test_numbers_in_json_are_as_short_as_they_are_rounded() -> None:
    cam = np.array([[1.0, 0.1234], [0.3333, 0.0]], np.float32)
    document = json.loads(explain_map("non_tumor", cam, None).model_dump_json())
    assert document["grid"] == [[1.0, 0.1234], [0.3333, 0.0]]
