"""The report of the benchmark of tracing."""

from __future__ import annotations

from benchmarks.access.comparing import Comparison
from benchmarks.tracing import render_tracing


def results(cpu_ratio: float) -> dict[str, object]:
    """Of two services that take 10 ms for a tile."""
    services = [
        Comparison(title, 80.0, 10.0, 1.0, ratio, (0.99, 1.05), 0.0, 12.0, 20.0).to_json()
        for title, ratio in (("off", 1.0), ("on", cpu_ratio))
    ]
    machine = {"cpu": "a processor", "cores": 2, "load_at_start": 0.5}
    sizes = {"n_rounds": 3, "n_tiles": 4, "tiles_are": "drawn tiles"}
    return {"machine": machine, **sizes, "off_us": 2.0, "on_us": 300.0, "services": services}


def test_report_says_whether_the_goal_is_met() -> None:
    assert "Measured: +2.5 %, met." in render_tracing(results(1.025))
    assert "Measured: +3.5 %, missed." in render_tracing(results(1.035))


def test_report_relates_the_spans_to_a_tile() -> None:
    report = render_tracing(results(1.0))
    assert "take 300 us, 3.0 % of a tile's processor time" in report
    assert "take 2.0 us, 0.020 %" in report
