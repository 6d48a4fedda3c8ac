"""The report of `benchmarks.gpu` as Markdown."""

from __future__ import annotations

from typing import Any, Final

from benchmarks.publish import Results
from benchmarks.tables import render_table

_NOTHING: Final = "-"


def render_gpu(results: Results) -> str:
    """Render the conditions, the graph alone, the differences, the service and the notes."""
    parts = [_conditions(results)]
    if results["graphs"]:
        parts += [_graphs(results["graphs"]), _differences(results["graphs"])]
    if results["setups"]:
        parts += [_service(results["setups"]), _stages(results["setups"])]
    parts.append("\n".join(f"- {note}" for note in results["notes"]))
    return "\n\n".join(part for part in parts if part)


def _conditions(results: Results) -> str:
    card, host = results["card"], results["host"]
    where = f"{host['cores']} cores ({host['cpu']}, {host['memory_gib']} GiB)"
    gpu = (
        f"{card['name']} ({card['memory.total']} MiB, driver {card['driver_version']})"
        if card
        else "no GPU, so nothing below says anything about one"
    )
    start = results["first_start_s"]
    starts = f" The first start of the service, with nothing cached, took {start:.0f} s."
    tiles = results["tiles"]
    return (
        f"Measured {host['date']}: {gpu}; {where}; TensorFlow {results['tensorflow']}, Python "
        f"{host['python']}; {results['model']}; {tiles['n']} tiles ({tiles['title']}); "
        f"{results['seconds']:g} s per load.{starts if start else ''}"
    )


def _graphs(graphs: list[dict[str, Any]]) -> str:
    columns = {
        _column(graph["name"], batch["threads"]): None
        for graph in graphs
        for batch in graph["batches"]
    }
    rates = {
        (batch["size"], _column(graph["name"], batch["threads"])): batch["tiles_per_s"]
        for graph in graphs
        for batch in graph["batches"]
    }
    sizes = sorted({size for size, _ in rates})
    rows = [[str(size), *(_number(rates.get((size, name))) for name in columns)] for size in sizes]
    title = "Graph alone, tiles per second:"
    return f"{title}\n\n{render_table(['tiles in a batch', *columns], rows)}"


def _column(name: str, threads: int) -> str:
    return name if threads == 1 else f"{name}, {threads} threads"


def _differences(graphs: list[dict[str, Any]]) -> str:
    header = [
        *("mode", "device", "load (s)", "slowest first batch (s)", "GPU memory in use (MiB)"),
        *("largest difference of a probability", "labels changed"),
    ]
    rows = [
        [
            graph["name"],
            graph.get("device", _NOTHING),
            _number(graph.get("load_s")),
            _number(max((batch["first_s"] for batch in graph["batches"]), default=None)),
            _number(graph.get("memory_mib")),
            f"{graph['max_probability_difference']:.1g}"
            if "max_probability_difference" in graph
            else _NOTHING,
            f"{graph['n_changed_labels']} of {graph['n_compared']}"
            if "n_compared" in graph
            else _NOTHING,
        ]
        for graph in graphs
    ]
    title = "Compared with LiteRT fp32 on the CPU, on the same tiles:"
    return f"{title}\n\n{render_table(header, rows)}"


def _service(setups: list[dict[str, Any]]) -> str:
    header = ["set-up", "ready (s)", "RAM (MiB)", "GPU memory (MiB)"]
    loads = setups[0]["loads"]
    header += [f"{_load_name(load)}: tiles/s, p50, p99 (ms)" for load in loads]
    rows = [
        [
            f"{setup['name']} ({setup['device']})",
            _number(setup["ready_s"]),
            _number(setup["rss_mib"]),
            _number(setup["gpu_memory_mib"]),
            *(
                f"{_number(load['tiles_per_s'])}, {_number(load['p50_ms'])}, "
                f"{_number(load['p99_ms'])}{_failures(load)}"
                for load in setup["loads"]
            ),
        ]
        for setup in setups
    ]
    return f"The service over HTTP, closed loop:\n\n{render_table(header, rows)}"


def _stages(setups: list[dict[str, Any]]) -> str:
    header = [
        *("set-up", "load", "queue, decode, inference (ms per tile)", "tiles per batch"),
        *("cores busy", "GPU busy"),
    ]
    rows = [
        [
            setup["name"],
            _load_name(load),
            ", ".join(_number(load["stage_ms"][stage]) for stage in load["stage_ms"]),
            _number(load["tiles_per_batch"]),
            _number(load["busy_cores"]),
            _NOTHING if load["gpu_percent"] is None else f"{load['gpu_percent']:.0f} %",
        ]
        for setup in setups
        for load in setup["loads"]
    ]
    return f"Where the time went:\n\n{render_table(header, rows)}"


def _load_name(load: dict[str, Any]) -> str:
    n_tiles = load["tiles_per_request"]
    form = f" with {n_tiles} tiles" if n_tiles > 1 else ""
    return f"{load['clients']} clients{form}"


def _failures(load: dict[str, Any]) -> str:
    return f" ({load['n_failed']} failed)" if load["n_failed"] else ""


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
