"""The report of a sizing run: measured, predicted, extrapolated, and the worked example."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from app.core.errors import counted
from benchmarks.publish import Results
from benchmarks.sizing.core_choice import render_core_choice
from benchmarks.sizing.disturbance import MAX_OTHER_CORES
from benchmarks.sizing.plan_report import render_plan
from benchmarks.sizing.predicting import LOST_TARGET_P99_S, tiles_per_s
from benchmarks.sizing.validation import compared_points, render_agreements, render_core_error
from benchmarks.tables import render_table


def render_sizing(results: Results, chart_name: str) -> str:
    """Render every table with its picture, for the terminal and for the documentation."""
    parts = [
        "### By core, measured",
        _measured(results),
        render_core_choice(results),
        _conditions(results),
        "### Random arrivals, measured and predicted",
        f"![Time of a tile against load, measured and simulated]({chart_name})",
        _points(results),
        _errors(results),
        "### More cores and pods, simulated",
        _cores(results),
        "### A lost node, simulated",
        _lost_node(results),
        "### The worked example, planned",
        render_plan(results["example"], results),
    ]
    return "\n\n".join(parts)


def _measured(results: Results) -> str:
    header = [
        *("cores", "limited by", "tiles/s", "tiles/s per core", "alone p50 (ms)"),
        *("CPU a tile (ms)", "event loop (ms)", "cores used"),
        *("idle (MiB)", "peak (MiB)", "ready (s)"),
    ]
    rows = []
    for entry in results["measured"]:
        per_s = tiles_per_s(entry)
        turns = entry["saturated"]
        cpu, serial, used = (
            statistics.median(turn[key] for turn in turns)
            for key in ("cpu_ms", "serial_ms", "cores_used")
        )
        rows.append(
            [
                *(str(entry["cores"]), entry["limited_by"]),
                *(f"{per_s:.1f}", f"{per_s / entry['cores']:.1f}"),
                *(f"{statistics.median(entry['alone_ms']):.1f}", f"{cpu:.1f}"),
                *(f"{serial:.2f}", f"{used:.2f}"),
                *(f"{entry['idle_rss_mib']:.0f}", f"{entry['peak_rss_mib']:.0f}"),
                f"{entry['ready_s']:.1f}",
            ]
        )
    return render_table(header, rows)


def _conditions(results: Results) -> str:
    machine, other = results["machine"], results["disturbance"]
    total = other["other_cores"] + other["stolen_cores"]
    verdict = (
        "This is more than the measurement allows without `--busy`: the numbers are those of a "
        "busy machine."
        if total > MAX_OTHER_CORES
        else "This is within what the measurement allows."
    )
    cores = counted(machine["cores"], "core")
    return (
        f"Measured {machine['date']} on {cores} ({machine['cpu']}), load "
        f"{machine['load_at_start']} at start, {results['n_tiles']} {results['tiles']} in turn; "
        f"{results['seconds']:g} s for each rate, medians of three saturated turns of 8 clients. "
        f"Other work used {other['other_cores']:.2f} cores meanwhile, and the hypervisor took "
        f"{other['stolen_cores']:.2f}. {verdict}"
    )


def _points(results: Results) -> str:
    header = [
        *("cores", "load", "offered (1/s)", "tiles/s", "predicted"),
        *(
            "p50 (ms)",
            "predicted",
            "p99 (ms)",
            "predicted",
            "429",
            "predicted",
            "other cores",
            "generator",
        ),
    ]
    rows = []
    for entry, point, predicted in compared_points(results):
        rows.append(
            [
                *(str(entry["cores"]), f"{point['load']:g}", f"{point['offered_per_s']:.1f}"),
                *(f"{point['tiles_per_s']:.1f}", _range(predicted.get("tiles_per_s"), "{:.1f}")),
                *(_value(point["p50_ms"]), _range(predicted.get("p50_ms"), "{:.0f}")),
                *(_value(point["p99_ms"]), _range(predicted.get("p99_ms"), "{:.0f}")),
                f"{point['refused_share']:.1%}",
                _range(predicted.get("refused_share"), "{:.1%}"),
                f"{point['other_cores'] + point['stolen_cores']:.2f}",
                f"{point['generator_cores']:.2f}",
            ]
        )
    return render_table(header, rows)


def _errors(results: Results) -> str:
    return (
        "Predictions are the median of 21 simulated runs of the same length, with the least and "
        "the greatest in brackets. The last columns are cores that other processes and the load "
        f"generator used meanwhile, beside the service. {render_agreements(results)}"
    )


def _cores(results: Results) -> str:
    rows = [
        [
            str(row["cores"]),
            _value(row["measured"], "{:.1f}"),
            _value(row["predicted"], "{:.1f}"),
            "measured" if row["measured"] else "extrapolated",
        ]
        for row in results["predicted"]["cores"]
    ]
    table = render_table(["cores of one pod", "tiles/s", "predicted", ""], rows)
    return f"{table}\n\n{render_core_error(results)}"


def _lost_node(results: Results) -> str:
    header = [
        *("pods", "offered, share of all pods", "p99 before (ms)"),
        *("tiles/s missing one", "429", "p99 (ms)", "until well (s)"),
    ]
    rows = [
        [
            *(str(row["pods"]), f"{row['load']:.0%}", _value(row["before"]["p99_ms"])),
            f"{row['missing']['tiles_per_s']:.1f}",
            f"{row['missing']['refused_share']:.1%}",
            *(_value(row["missing"]["p99_ms"]), f"{row['recovered_s']:.0f}"),
        ]
        for row in results["predicted"]["lost_node"]
    ]
    cores = counted(results["measured"][-1]["cores"], "core")
    return (
        f"{render_table(header, rows)}\n\n"
        f"Pods of {cores}. One is missing for 60 s, to which no requests are sent; nobody "
        f"tries again. All is well once nothing is refused and the 99th percentile is below "
        f"{LOST_TARGET_P99_S:g} s."
    )


def _value(value: float | None, form: str = "{:.0f}") -> str:
    return "-" if value is None else form.format(value)


def _range(values: Sequence[float] | None, form: str) -> str:
    if values is None:
        return "-"
    middle, least, most = (form.format(value) for value in values)
    return f"{middle} ({least} to {most})"
