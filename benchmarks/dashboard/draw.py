"""Draw the panels of the dashboard where Grafana puts them, with the values of a Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from benchmarks.dashboard.panels import Panel
from benchmarks.dashboard.prometheus import Prometheus

_INK: Final = "#2b2b2b"
_LINES: Final = ("#7a3b69", "#1f77b4", "#e08a1e", "#3a8f5c", "#c0392b", "#8c8c8c", "#5b4fc0")
_COLOURS: Final = {"red": "#c0392b", "orange": "#e08a1e", "green": "#3a8f5c", "text": _INK}
_INCHES_PER_CELL: Final = (0.72, 0.46)
_SUFFIXES: Final[dict[str, tuple[float, str]]] = {
    "percentunit": (100, " %"),
    "s": (1, " s"),
    "bytes": (1 / 1024**2, " MiB"),
}


def draw_dashboard(
    panels: Sequence[Panel],
    prometheus: Prometheus,
    *,
    begin_s: float,
    end_s: float,
    step_s: float,
    file: Path,
) -> None:
    """Write a PNG of all panels between two times, in seconds since 1970.

    Args:
        panels: all of them, in the places that the grid gives them.
        prometheus: has the values.
        begin_s: where the lines begin.
        end_s: where they end; the numbers are those of now.
        step_s: distance of two points of a line.
        file: the PNG.
    """
    # Without pyplot, which has global state and looks for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    n_rows = max(y + height for _, y, _, height in (panel.place for panel in panels))
    width, height = 24 * _INCHES_PER_CELL[0], n_rows * _INCHES_PER_CELL[1]
    figure = Figure(figsize=(width, height), dpi=100, facecolor="#f4f3f4")
    FigureCanvasAgg(figure)
    titles = {panel.row: panel.place[1] - 1 for panel in reversed(panels)}
    for title, y in titles.items():
        at = 1 - (y + 0.75) / n_rows
        figure.text(0.006, at, title, fontsize=13, fontweight="bold", color=_INK)
    for panel in panels:
        axes: Any = figure.add_axes(_rectangle(panel, n_rows))
        axes.set_title(panel.title, loc="left", fontsize=10, color=_INK)
        if panel.kind == "stat":
            _write_numbers(axes, panel, prometheus)
        else:
            _draw_lines(
                axes, panel, lambda query: prometheus.between(query, begin_s, end_s, step_s)
            )
            axes.set_xlim(datetime.fromtimestamp(begin_s, UTC), datetime.fromtimestamp(end_s, UTC))
    figure.savefig(file)


def _rectangle(panel: Panel, n_rows: int) -> tuple[float, float, float, float]:
    """Left, bottom, width and height of the axes; the labels are outside of them."""
    x, y, width, height = panel.place
    below = 1.9 if panel.kind == "timeseries" else 0.4
    left, top = x + 1.1, y + 0.8
    return (
        left / 24,
        1 - (y + height - below) / n_rows,
        (width - 1.4) / 24,
        (height - below - (top - y)) / n_rows,
    )


def _write_numbers(axes: Any, panel: Panel, prometheus: Prometheus) -> None:
    lines = []
    for query in panel.queries:
        for series in prometheus.now(query.expression):
            value = series.values[-1]
            colour = [name for at, name in panel.thresholds if value >= at][-1]
            text = panel.texts.get(f"{value:g}") or _written(value, panel.unit)
            several = len(panel.queries) > 1 or "{{" in query.legend
            name = f"{query.name(series.labels)}  " if several else ""
            lines.append((f"{name}{text}", _COLOURS[colour]))
    for i, (text, colour) in enumerate(lines or [("no value", _COLOURS["text"])]):
        at = 0.5 - 0.35 * (i - (len(lines) - 1) / 2) if lines else 0.5
        size = 20 if len(text) < 9 else 11
        axes.text(0.5, at, text, ha="center", va="center", fontsize=size, color=colour)
    axes.set_xticks([])
    axes.set_yticks([])


def _written(value: float, unit: str) -> str:
    if unit == "s" and value >= 86_400:
        return f"{value / 86_400:.1f} days"
    factor, suffix = _SUFFIXES.get(unit, (1, ""))
    return f"{value * factor:.4g}{suffix}"


def _draw_lines(axes: Any, panel: Panel, ask: Callable[[str], Any]) -> None:
    factor, suffix = _SUFFIXES.get(panel.unit, (1, ""))
    drawn = [(query, series) for query in panel.queries for series in ask(query.expression)]
    names = [query.name(series.labels) for query, series in drawn]
    times = [[datetime.fromtimestamp(t, UTC) for t in series.times_s] for _, series in drawn]
    values = [[value * factor for value in series.values] for _, series in drawn]
    if panel.is_stacked and drawn:
        common = sorted(set.intersection(*(set(t) for t in times)))
        aligned = [dict(zip(t, v, strict=True)) for t, v in zip(times, values, strict=True)]
        heights = [[at[t] for t in common] for at in aligned]
        axes.stackplot(common, heights, labels=names, colors=_LINES)
    else:
        for i, (name, t, v) in enumerate(zip(names, times, values, strict=True)):
            axes.plot(t, v, label=name, color=_LINES[i % len(_LINES)], linewidth=1.4)
    axes.set_ylim(bottom=0)
    for at, colour in panel.thresholds[1:]:
        axes.axhline(at * factor, color=_COLOURS[colour], linestyle=(0, (4, 3)), linewidth=1)
    if not drawn:
        axes.text(0.5, 0.5, "no value", ha="center", transform=axes.transAxes, color=_INK)
    _label_axes(axes, suffix, has_legend=bool(drawn))


def _label_axes(axes: Any, suffix: str, *, has_legend: bool) -> None:
    import matplotlib.dates
    from matplotlib.ticker import FuncFormatter

    dates: Any = matplotlib.dates  # it has no types
    axes.xaxis.set_major_formatter(dates.DateFormatter("%H:%M"))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}{suffix}"))
    axes.tick_params(length=0, labelsize=8, colors=_INK)
    axes.xaxis.set_major_locator(dates.AutoDateLocator(minticks=3, maxticks=10))
    axes.grid(visible=True, color="#e6e3e5", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[:].set_visible(False)
    if has_legend:
        axes.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.13),
            ncols=4,
            fontsize=7,
            frameon=False,
            columnspacing=1.0,
        )
