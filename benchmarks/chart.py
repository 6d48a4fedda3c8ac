"""The chart of a serving run: tiles per second with eight clients, and the in-process limit."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from benchmarks.publish import Results
from benchmarks.report import CHOSEN_CLIENTS, limit_of, median_cell
from benchmarks.servers import SERVERS

_OURS_COLOUR: Final = "#7a3b69"
_PEER_COLOUR: Final = "#b8b3b6"
_INK: Final = "#2b2b2b"


def draw_chart(results: Results, file: Path) -> None:
    """Write a PNG with one bar per server and a dashed line at the fp32 in-process limit."""
    # Without pyplot, which has global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rates = {
        name: rate
        for name in results["servers"]
        if (rate := median_cell(results, name, "tiles_per_s")) is not None
    }
    names = sorted(rates, key=lambda name: rates[name])
    figure = Figure(figsize=(9, 0.55 * len(names) + 1.6), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    bars = axes.barh(
        [SERVERS[name].title.replace("`", "") for name in names],
        [rates[name] for name in names],
        color=[_PEER_COLOUR if SERVERS[name].is_peer else _OURS_COLOUR for name in names],
        height=0.66,
    )
    axes.bar_label(bars, fmt="%.0f", padding=4, color=_INK, fontsize=10)
    right = max(rates.values(), default=1.0)
    limit = limit_of(results, "fp32")
    if limit is not None:
        right = max(right, limit)
        axes.axvline(limit, color=_INK, linestyle=(0, (4, 3)), linewidth=1.2, zorder=0)
        axes.annotate(
            f"in process, no HTTP: {limit:.0f}",
            (limit, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=_INK,
        )
    axes.set_xlim(0, right * 1.1)
    axes.set_xlabel(f"tiles per second, {CHOSEN_CLIENTS} clients, multipart (higher is better)")
    axes.tick_params(length=0, colors=_INK)
    axes.xaxis.grid(visible=True, color="#e6e3e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    cores = results["machine"]["cores"]
    figure.suptitle(
        f"Same model, same tiles, {cores} CPU cores", x=0.01, ha="left", fontsize=12, color=_INK
    )
    figure.savefig(file)
