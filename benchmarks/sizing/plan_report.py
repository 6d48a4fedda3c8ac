"""A plan as a table with the arithmetic behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import counted
from benchmarks.sizing.planning import SLIDE_FACTOR
from benchmarks.sizing.validation import render_p99_warning
from benchmarks.tables import render_table

_PHASES = {
    "before": "before",
    "unnoticed": "until it is noticed",
    "missing": "until its pods run elsewhere",
    "after": "afterwards",
}


def render_plan(planned: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    """Render a plan.

    Args:
        planned: of `planning.plan`.
        results: of the measurement that it rests on.
    """
    return "\n\n".join(
        [
            render_table(["plan", "value", "from"], _rows(planned)),
            _lost_node(planned),
            *_gpu(planned),
            _provenance(planned, results),
        ]
    )


def _rows(planned: Mapping[str, Any]) -> list[list[str]]:
    demand, cluster, memory = planned["demand"], planned["cluster"], planned["memory"]
    spare = "one node may be lost" if cluster["may_lose_node"] else "no node may be lost"
    left = planned["replicas"]
    if cluster["may_lose_node"]:
        left -= planned["pods_of_a_node"]
    pods_per_s = planned["tiles_per_s_per_pod"]
    factors = f", times {planned['p99_margin']:.2f}"
    if demand["slides_per_day"]:
        factors += f" and {SLIDE_FACTOR}"
    pod_cores = counted(cluster["pod_cores"], "core")
    nodes = counted(cluster["nodes"], "node")
    slides_h = demand["slides_per_day"] * planned["slide_minutes"] / 60
    rows = [
        [
            "single tiles at the peak",
            f"{planned['peak_tiles_per_s']:.2f} tiles/s",
            f"{demand['tiles_per_day']:,.0f} in {demand['hours']:g} h, times "
            f"{demand['peak_factor']:g}",
        ],
        [
            "all tiles, mean",
            f"{planned['mean_tiles_per_s']:.2f} tiles/s",
            f"with slides, {demand['slides_per_day']:,.0f} a day of "
            f"{demand['tiles_per_slide']:,.0f} tiles each",
        ],
        ["a pod", f"{pods_per_s:.1f} tiles/s", f"measured on {pod_cores}"],
        ["**replicas**", f"**{planned['replicas']}**", f"{nodes}, {spare}"],
        ["cores", f"{planned['cores']}", f"{cluster['pod_cores']} a pod"],
        [
            "p99 at the peak",
            f"{planned['p99_ms_at_peak']:.0f} ms",
            f"simulated on {left} of the pods{factors}; target {demand['target_p99_s'] * 1e3:g} ms",
        ],
        [
            "headroom at the peak",
            f"{1 - planned['peak_utilisation']:.1%}",
            "of all pods, without slides",
        ],
        ["headroom over the day", f"{1 - planned['day_utilisation']:.1%}", "with slides"],
        [
            "memory request of a pod",
            f"{memory['request_mib']:.0f} MiB",
            f"measured: {memory['idle_mib']:.0f} idle, {memory['peak_mib']:.0f} at most",
        ],
        ["memory limit of a pod", f"{memory['limit_mib']:.0f} MiB", "all limits added up"],
    ]
    if demand["slides_per_day"]:
        rows.insert(
            7,
            [
                "a slide",
                f"{planned['slide_minutes'] * 60:.0f} s",
                f"on an idle pod; {slides_h:.1f} h a day for all, on one pod",
            ],
        )
    return rows


def _lost_node(planned: Mapping[str, Any]) -> str:
    found, cluster = planned["lost_node"], planned["cluster"]
    rows = [
        [
            name,
            f"{found[phase]['refused_share']:.1%}",
            f"{found[phase]['lost_share']:.1%}",
            "-" if found[phase]["p99_ms"] is None else f"{found[phase]['p99_ms']:.0f} ms",
        ]
        for phase, name in _PHASES.items()
        if phase in found
    ]
    table = render_table(["a lost node", "429", "no answer", "p99"], rows)
    pods = counted(planned["pods_of_a_node"], "pod")
    return (
        f"{table}\n\n"
        f"A node with {pods} of {planned['replicas']} is lost at the peak, noticed after "
        f"{cluster['noticed_s']:g} s and replaced after "
        f"{cluster['replaced_s']:g} s. All is well again {found['recovered_s']:.0f} s after the "
        "loss. Simulated, without anybody who tries again: an ingress that tries another pod, or a "
        "client that does, gets answers until the loss is noticed as well."
    )


def _gpu(planned: Mapping[str, Any]) -> list[str]:
    gpu = planned["gpu"]
    if gpu is None:
        return [
            "When a GPU pays is not known: no GPU was measured beside the CPU of its host (results "
            "file gpu.json)."
        ]
    text = (
        f"One process of the service answered {gpu['tiles_per_s']:.0f} tiles/s with a GPU "
        f"({gpu['name']}), and {gpu['cpu_tiles_per_s']:.0f} on the {gpu['host_cores']} cores of "
        "the same host without it."
    )
    if gpu["tiles_per_s"] <= gpu["cpu_tiles_per_s"]:
        return [f"{text} So this GPU does not pay at any price."]
    text += f" So the GPU replaces {gpu['replaces_cores']:.1f} cores of that host."
    if gpu["pays"] is None:
        return [
            f"{text} It pays where it costs less than these and there is work for the host and "
            "more cores than it costs: state its price in cores with `--gpu-cost-cores`."
        ]
    verdict = "it pays" if gpu["pays"] else "it does not pay"
    return [
        f"{text} The host and as many more cores as the GPU costs answer "
        f"{gpu['pays_from_tiles_per_s']:.0f} tiles/s without it. The GPU pays if it answers more, "
        f"and so many are needed; with {planned['peak_tiles_per_s']:.1f} tiles/s at the peak "
        f"{verdict}."
    ]


def _provenance(planned: Mapping[str, Any], results: Mapping[str, Any]) -> str:
    machine, other = results["machine"], results["disturbance"]
    return (
        f"From a measurement on {machine['cpu']} of {machine['date']} while other work used "
        f"{other['other_cores'] + other['stolen_cores']:.2f} cores. Balance: "
        f"{planned['cluster']['balance']}. {render_p99_warning(results)}Your processor has "
        "other numbers: measure on it before you buy. Research use only, not a medical device."
    )
