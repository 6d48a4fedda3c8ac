"""The report of the benchmark of tracing."""

from __future__ import annotations

import pytest

from benchmarks.access.comparing import Comparison
from benchmarks.tracing import render_tracing


def results(cpu_ratio: float, quartiles: tuple[float, float] = (0.99, 1.02)) -> dict[str, object]:
    """Of two services that take 10 ms for a tile."""
    services = [
        Comparison(title, 80.0, 10.0, 1.0, ratio, quartiles, 0.0, 12.0, 20.0).to_json()
        for title, ratio in (("off", 1.0), ("on", cpu_ratio))
    ]
    machine = {"cpu": "a processor", "cores": 2, "load_at_start": 0.5}
    sizes = {"n_rounds": 3, "n_tiles": 4, "tiles_are": "drawn tiles"}
    return {"machine": machine, **sizes, "off_us": 2.0, "on_us": 300.0, "services": services}


@pytest.mark.parametrize(
    ("cpu_ratio", "quartiles", "verdict"),
    [
        (1.015, (0.99, 1.029), "+1.5 % (quartiles -1.0 to +2.9 %), met."),
        (0.987, (0.942, 1.04), "-1.3 % (quartiles -5.8 to +4.0 %), not resolved."),
        (1.035, (1.02, 1.05), "+3.5 % (quartiles +2.0 to +5.0 %), not resolved."),
        (1.045, (1.031, 1.06), "+4.5 % (quartiles +3.1 to +6.0 %), missed."),
    ],
)
def test_report_says_whether_the_goal_is_met(
    cpu_ratio: float, quartiles: tuple[float, float], verdict: str
) -> None:
    assert f"Measured: {verdict}" in render_tracing(results(cpu_ratio, quartiles))


def test_report_relates_the_spans_to_a_tile() -> None:
    report = render_tracing(results(1.0))
    assert "take 300 us, 3.0 % of a tile's processor time" in report
    assert "take 2.0 us, 0.020 %" in report
