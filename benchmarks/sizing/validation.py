"""How far the simulation is from what was measured, and what follows for who relies on it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.core.errors import counted

MIN_WITHIN: Final = 0.75
"""Share of the measured values within the range of the 21 simulated runs, from which a figure is
validated. Of values that the simulation itself draws, 20 of 22 are."""
MAX_CORE_ERROR: Final = 0.1
"""Relative error of the tiles/s on other numbers of cores, up to which they are validated."""
_FIGURES: Final = {"tiles_per_s": "tiles/s", "p50_ms": "p50", "p99_ms": "p99"}


@dataclass(frozen=True, slots=True)
class Agreement:
    """Predictions of one figure, compared with its measured values.

    Attributes:
        name: of the figure.
        errors: predicted over measured, less 1.
        n_within: measured values within the range of the simulated runs.
    """

    name: str
    errors: Sequence[float]
    n_within: int

    @property
    def is_validated(self) -> bool:
        """Whether enough measured values are within the range."""
        return self.n_within >= MIN_WITHIN * len(self.errors)

    def __str__(self) -> str:
        median = statistics.median(abs(error) for error in self.errors)
        return (
            f"{self.name}: median error {median:.0%}, largest {max(self.errors, key=abs):+.0%}, "
            f"{self.n_within} of {len(self.errors)} within the range"
        )


Point = tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Sequence[float]]]
"""An entry of `measured`, one of its points, and the median, least and greatest predictions."""


def compared_points(results: Mapping[str, Any]) -> list[Point]:
    """Every measured point with its prediction; none if nothing was predicted."""
    predicted = results.get("predicted", {}).get("points", [])
    return [
        (entry, point, prediction)
        for entry, predictions in zip(results["measured"], predicted, strict=False)
        for point, prediction in zip(entry["points"], predictions, strict=True)
    ]


def agreements(results: Mapping[str, Any]) -> dict[str, Agreement]:
    """Compare each figure that was measured and predicted, by its key in the results."""
    found = {}
    for key, name in _FIGURES.items():
        pairs = [
            (point[key], predicted[key])
            for _, point, predicted in compared_points(results)
            if point.get(key) and key in predicted
        ]
        if pairs:
            errors = [middle / value - 1 for value, (middle, _, _) in pairs]
            n_within = sum(least <= value <= most for value, (_, least, most) in pairs)
            found[key] = Agreement(name, errors, n_within)
    return found


def render_agreements(results: Mapping[str, Any]) -> str:
    """State the errors of the predictions, and which figures are validated."""
    found = agreements(results).values()
    valid = [each.name for each in found if each.is_validated]
    invalid = [each.name for each in found if not each.is_validated]
    return (
        f"{'; '.join(map(str, found))}. If the simulation were right, 20 of 22 values would be "
        f"within the range. A figure is validated here if at least {MIN_WITHIN:.0%} are. "
        f"Validated: {', '.join(valid) or 'none'}. Not validated: {', '.join(invalid) or 'none'}."
    )


def render_core_error(results: Mapping[str, Any]) -> str:
    """State how well the tiles/s on more cores were predicted from fewer."""
    rows = results["predicted"]["cores"]
    first, *others = [row for row in rows if row["measured"]]
    errors, sentences = [], []
    for row in others:
        errors.append(row["predicted"] / row["measured"] - 1)
        sentences.append(
            f"From {counted(first['cores'], 'core')}, the simulation predicts "
            f"{row['predicted']:.1f} tiles/s for {counted(row['cores'], 'core')}; "
            f"{row['measured']:.1f} were measured (error {errors[-1]:+.0%})."
        )
    if not errors:
        return "Only one number of cores was measured, so the extrapolation is not validated."
    if max(map(abs, errors)) > MAX_CORE_ERROR:
        sentences.append(
            f"This is more than {MAX_CORE_ERROR:.0%}, so the extrapolation is not validated."
        )
    else:
        sentences.append(
            f"This is at most {MAX_CORE_ERROR:.0%}; with more cores nothing was compared."
        )
    return " ".join(sentences)


def render_p99_warning(results: Mapping[str, Any]) -> str:
    """Say what the 99th percentiles of a plan are worth; empty if they are validated."""
    p99 = agreements(results).get("p99_ms")
    if p99 is None:
        return "The simulated times were not compared with measured ones. "
    if p99.is_validated:
        return ""
    return (
        f"The simulated p99 is not validated: {p99.n_within} of {len(p99.errors)} measured values "
        "were within its range. Take it as a rough estimate. "
    )
