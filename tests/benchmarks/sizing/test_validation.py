"""What the report says about the simulation follows from its errors."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.sizing.validation import (
    agreements,
    render_agreements,
    render_core_error,
    render_p99_warning,
)


def compared(p99_ms: list[float]) -> dict[str, Any]:
    """Measured percentiles, all of which were predicted as 100 ms (80 to 120)."""
    points = [{"tiles_per_s": 10.0, "p99_ms": value} for value in p99_ms]
    prediction = {"tiles_per_s": [10.0, 9.0, 11.0], "p99_ms": [100.0, 80.0, 120.0]}
    return {
        "measured": [{"points": points}],
        "predicted": {"points": [[prediction] * len(points)]},
    }


def extrapolated(measured_on_2: float | None) -> dict[str, Any]:
    """50 tiles/s on one core, for which 100 were predicted on two."""
    rows = [
        {"cores": 1, "measured": 50.0, "predicted": None},
        {"cores": 2, "measured": measured_on_2, "predicted": 100.0},
        {"cores": 4, "measured": None, "predicted": 200.0},
    ]
    return {"predicted": {"cores": rows}}


def test_agreement_has_errors_and_the_values_within_the_range() -> None:
    found = agreements(compared([50.0, 80.0, 120.0, 200.0]))["p99_ms"]
    assert found.errors == pytest.approx([1.0, 0.25, -1 / 6, -0.5])
    assert str(found) == "p99: median error 38%, largest +100%, 2 of 4 within the range"


def test_figure_is_validated_if_three_of_four_values_are_within_the_range() -> None:
    enough = render_agreements(compared([80.0, 100.0, 120.0, 200.0]))
    assert enough.endswith("Validated: tiles/s, p99. Not validated: none.")
    too_few = render_agreements(compared([80.0, 100.0, 121.0, 200.0]))
    assert too_few.endswith("Validated: tiles/s. Not validated: p99.")


def test_plan_warns_of_percentiles_that_are_not_validated() -> None:
    assert render_p99_warning(compared([100.0] * 4)) == ""
    assert "not validated: 1 of 4 measured" in render_p99_warning(compared([100.0] + [200.0] * 3))
    assert "were not compared" in render_p99_warning({"measured": []})


def test_error_from_core_to_core_is_stated() -> None:
    assert "100.0 tiles/s for 2 cores; 80.0 were measured (error +25%)" in render_core_error(
        extrapolated(80.0)
    )


@pytest.mark.parametrize(
    ("measured_on_2", "words"),
    [
        (80.0, "more than 10%, so the extrapolation is not validated"),
        (125.0, "more than 10%, so the extrapolation is not validated"),
        (95.0, "at most 10%; with more cores nothing was compared"),
        (None, "Only one number of cores was measured, so the extrapolation is not validated"),
    ],
)
def test_extrapolation_is_validated_by_a_second_number_of_cores(
    measured_on_2: float | None, words: str
) -> None:
    assert words in render_core_error(extrapolated(measured_on_2))
