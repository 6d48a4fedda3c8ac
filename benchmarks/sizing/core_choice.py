"""Which of the measured numbers of cores answers the most tiles a second for each core."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any, Final

from app.core.errors import counted
from benchmarks.sizing.predicting import tiles_per_s

_USED: Final = 0.9
"""Share of its cores that a saturated service uses at least, if nothing keeps it from them."""


def render_core_choice(results: Mapping[str, Any]) -> str:
    """Say which size of a pod did best, and what the comparison does not show."""
    measured = results["measured"]
    if len(measured) == 1:
        return "Only one number of cores was measured, so none is advised."
    rates = {entry["cores"]: _per_core(entry) for entry in measured}
    shown = ", ".join(
        f"{counted(cores, 'core')}: {statistics.median(found):.1f} ({min(found):.1f} to "
        f"{max(found):.1f})"
        for cores, found in rates.items()
    )
    best = max(rates, key=lambda cores: statistics.median(rates[cores]))
    if all(max(rates[cores]) < min(rates[best]) for cores in rates if cores != best):
        text = f"Pods of {counted(best, 'core')} answered the most tiles/s per core; {shown}."
    else:
        text = f"No size of a pod is better by tiles/s per core: the turns overlap; {shown}."
    return " ".join([text, *(sentence for entry in measured for sentence in _unused(entry))])


def _per_core(entry: Mapping[str, Any]) -> list[float]:
    """Tiles a second for each core, of each saturated turn."""
    return [turn["tiles_per_s"] / entry["cores"] for turn in entry["saturated"]]


def _unused(entry: Mapping[str, Any]) -> list[str]:
    cores = entry["cores"]
    used = statistics.median(turn["cores_used"] for turn in entry["saturated"])
    if used >= _USED * cores:
        return []
    return [
        f"The saturated service used only {used:.2f} of {counted(cores, 'core')}, "
        f"{tiles_per_s(entry) / used:.1f} tiles/s for each that it used; whether other work took "
        "the rest, or the service cannot use it, was not measured."
    ]
