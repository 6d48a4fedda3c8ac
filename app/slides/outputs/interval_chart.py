"""The ratio and its intervals on a scale from 0 to 1, as SVG."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from app.core.markup import Html, fill, joined
from app.slides.results import IntervalMethod, Necrosis, RatioInterval

METHODS: Final[dict[IntervalMethod, str]] = {
    "block_bootstrap": "Which tiles the slide has (block bootstrap)",
    "slide_confusion": "Also the model's errors on unseen slides",
    "patient_confusion": "Also the model's errors on unseen patients",
    "site_confusion": "Also the model's errors on this site's tiles",
}
"""What an interval accounts for, for readers of the report."""
HUVOS_THRESHOLD: Final = 0.90
"""Share of necrosis from which the response is good: Huvos et al. 1977, grades III and IV."""

_WIDTH: Final = 640
_LEFT, _RIGHT = 14, 510
_TOP: Final = 40
_STEP: Final = 46

_CHART: Final = """<svg class="chart" viewBox="0 0 $width $height" role="img" aria-label="$says">
<rect class="good" x="$at_threshold" y="$top" width="$good_width" height="$span"/>
<text class="muted" x="$in_good" y="18" text-anchor="middle">good</text>
<text class="muted" x="$in_poor" y="18" text-anchor="end">Huvos: poor</text>
<text class="muted" x="$level_x" y="18" text-anchor="end">$level</text>
$ticks<line class="threshold" x1="$at_threshold" x2="$at_threshold" y1="$top" y2="$bottom"/>
$bars$ratio</svg>"""
_TICK: Final = (
    '<line class="tick" x1="$x" x2="$x" y1="$top" y2="$bottom"/>'
    '<text class="muted" x="$x" y="$below" text-anchor="middle">$value</text>\n'
)
_BAR: Final = (
    '<text x="$left" y="$text_y">$name</text>'
    '<text x="$right" y="$value_y" text-anchor="end" class="value">$low to $high</text>'
    '<rect class="interval" x="$x" y="$y" width="$width" height="12" rx="3"/>\n'
)
_RATIO: Final = (
    '<line class="ratio" x1="$x" x2="$x" y1="$top" y2="$bottom"/>'
    '<path class="ratio" d="M$x $top l-7 -10 h14 z"/>\n'
)


def interval_chart(necrosis: Necrosis) -> Html:
    """Draw the ratio and its intervals; empty without intervals."""
    intervals = necrosis.intervals
    if not intervals:
        return Html("")
    bottom = _TOP + _STEP * len(intervals) + 6
    threshold = _x(HUVOS_THRESHOLD)
    return fill(
        _CHART,
        width=_WIDTH,
        height=bottom + 24,
        says=_in_words(necrosis),
        top=_TOP,
        bottom=bottom,
        span=bottom - _TOP,
        at_threshold=threshold,
        good_width=_x(1) - threshold,
        in_good=(threshold + _x(1)) / 2,
        in_poor=threshold - 8,
        level_x=_WIDTH - 4,
        level=_level(intervals),
        ticks=joined(_tick(tenths / 10, bottom) for tenths in (0, 2, 4, 6, 8, 9, 10)),
        bars=joined(_bar(number, interval) for number, interval in enumerate(intervals)),
        ratio=_ratio(necrosis.ratio, bottom),
    )


def _level(intervals: Sequence[RatioInterval]) -> str:
    levels = {interval.level for interval in intervals}
    return f"{100 * levels.pop():g} % interval" if len(levels) == 1 else "interval"


def _tick(value: float, bottom: int) -> Html:
    text = f"{value:.2f}" if value == HUVOS_THRESHOLD else f"{value:g}"
    return fill(_TICK, x=_x(value), top=_TOP, bottom=bottom, below=bottom + 18, value=text)


def _bar(number: int, interval: RatioInterval) -> Html:
    y = _TOP + 8 + _STEP * number
    return fill(
        _BAR,
        left=_LEFT + 4,
        right=_WIDTH - 4,
        text_y=y + 12,
        value_y=y + 31,
        name=METHODS[interval.method],
        low=f"{interval.low:.2f}",
        high=f"{interval.high:.2f}",
        x=_x(interval.low),
        y=y + 20,
        width=max(2.0, round(_x(interval.high) - _x(interval.low), 1)),
    )


def _ratio(ratio: float | None, bottom: int) -> Html:
    return Html("") if ratio is None else fill(_RATIO, x=_x(ratio), top=_TOP, bottom=bottom)


def _x(value: float) -> float:
    return round(_LEFT + value * (_RIGHT - _LEFT), 1)


def _in_words(necrosis: Necrosis) -> str:
    ratio = "no ratio" if necrosis.ratio is None else f"ratio {necrosis.ratio:.2f}"
    parts = [
        f"{METHODS[one.method]}: {one.low:.2f} to {one.high:.2f}" for one in necrosis.intervals
    ]
    return f"Scale from 0 to 1 with a line at 0.90; {ratio}. " + "; ".join(parts) + "."
