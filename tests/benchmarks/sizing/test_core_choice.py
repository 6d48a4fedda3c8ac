"""The size of a pod that the report advises is the one that the measurement favours."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.sizing.core_choice import render_core_choice


def measured(cores: int, tiles_per_s: float, used: float) -> dict[str, Any]:
    """A pod, its tiles a second in turns that differ by 10 %, and the cores that it used."""
    turns = [{"tiles_per_s": tiles_per_s * of, "cores_used": used} for of in (0.95, 1, 1.05)]
    return {"cores": cores, "saturated": turns}


@pytest.mark.parametrize(
    ("on_2", "words"),
    [
        (70.0, "Pods of 1 core answered the most tiles/s per core; 1 core: 50.0 (47.5 to 52.5), "),
        (120.0, "Pods of 2 cores answered the most tiles/s per core; "),
        (94.0, "No size of a pod is better by tiles/s per core: the turns overlap; "),
    ],
)
def test_size_with_the_most_tiles_per_core_is_named_if_no_turn_contradicts(
    on_2: float, words: str
) -> None:
    found = render_core_choice({"measured": [measured(1, 50.0, 1.0), measured(2, on_2, 1.9)]})
    assert found.startswith(words)
    assert "used only" not in found


def test_cores_that_the_service_did_not_use_are_stated() -> None:
    found = render_core_choice({"measured": [measured(1, 50.0, 1.0), measured(2, 75.0, 1.5)]})
    assert "used only 1.50 of 2 cores, 50.0 tiles/s for each that it used" in found


def test_no_size_is_advised_if_only_one_was_measured() -> None:
    assert "none is advised" in render_core_choice({"measured": [measured(1, 50.0, 1.0)]})
