"""The picture of docs/sizing.md: latency against load, measured points over simulated curves."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from benchmarks.publish import Results
from benchmarks.sizing.predicting import tiles_per_s

_INK: Final = "#2b2b2b"
_COLOURS: Final = ("#7a3b69", "#2f6f8f", "#b8762f")
_STYLES: Final = {"p50_ms": ("50th percentile", "--", "o"), "p99_ms": ("99th percentile", "-", "s")}


def draw_curves(results: Results, file: Path) -> None:
    """Write a PNG with one panel for each number of cores."""
    # Without pyplot, which has global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    measured = results["measured"]
    figure = Figure(figsize=(4.6 * len(measured), 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(measured), sharey=True, squeeze=False)[0]
    for i, (entry, axes) in enumerate(zip(measured, panels, strict=True)):
        _draw_panel(axes, entry, results["predicted"]["curves"][i], _COLOURS[i % len(_COLOURS)])
    panels[0].set_ylabel("time of a tile (ms)", color=_INK)
    panels[0].legend(frameon=False, loc="upper left", fontsize=8.5)
    figure.suptitle(
        "Random arrivals: measured points over simulated curves",
        x=0.01,
        ha="left",
        fontsize=12,
        color=_INK,
    )
    figure.savefig(file)


def _draw_panel(axes: Any, entry: Results, curve: list[dict[str, float]], colour: str) -> None:
    most = tiles_per_s(entry)
    for key, (label, line, marker) in _STYLES.items():
        axes.plot(
            [point["offered_per_s"] for point in curve],
            [point[key] for point in curve],
            line,
            color=colour,
            linewidth=1.6,
            label=f"{label}, simulated",
        )
        points = [point for point in entry["points"] if point["load"] < 1]
        axes.plot(
            [point["offered_per_s"] for point in points],
            [point[key] for point in points],
            marker,
            color=colour,
            markerfacecolor="white" if key == "p50_ms" else colour,
            markersize=6,
            label=f"{label}, measured",
        )
    axes.axvline(most, color=_INK, linestyle=(0, (4, 3)), linewidth=1.0, zorder=0)
    axes.annotate(
        f"saturated: {most:.0f}",
        (most, 0.02),
        xycoords=("data", "axes fraction"),
        xytext=(-4, 0),
        textcoords="offset points",
        ha="right",
        fontsize=8.5,
        color=_INK,
    )
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xlim(0, most * 1.05)
    cores = entry["cores"]
    axes.set_title(f"{cores} core{'s' if cores > 1 else ''}", fontsize=10, color=_INK)
    axes.set_xlabel("offered tiles per second", color=_INK)
    axes.tick_params(colors=_INK, length=3)
    axes.grid(visible=True, which="major", color="#e6e3e5", linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
