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
        parts += [_setups(results["setups"]), _loads(results["setups"])]
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
    starts = (
        f" The first start of the service, with an empty cache of CUDA, took {_number(start)} s."
    )
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
        *("mode", "load (s)", "slowest first batch (s)", "GPU memory in use (MiB)"),
        *("largest difference of a probability", "labels changed"),
    ]
    rows = [
        [
            graph["name"],
            _number(graph.get("load_s")),
            _number(max((batch["first_s"] for batch in graph["batches"]), default=None)),
            _number(graph.get("memory_mib")),
            *_difference(graph),
        ]
        for graph in graphs
    ]
    title = "Compared with LiteRT fp32 on the CPU, on the same tiles:"
    return f"{title}\n\n{render_table(header, rows)}"


def _difference(graph: dict[str, Any]) -> tuple[str, str]:
    if graph.get("not_finite"):
        return "not a finite number", _NOTHING
    if "n_compared" not in graph:
        return _NOTHING, _NOTHING
    labels = f"{graph['n_changed_labels']} of {graph['n_compared']}"
    return f"{graph['max_probability_difference']:.1g}", labels


def _setups(setups: list[dict[str, Any]]) -> str:
    header = ["set-up", "device", "ready (s)", "memory (MiB)", "GPU memory (MiB)"]
    numbers = ("ready_s", "rss_mib", "gpu_memory_mib")
    rows = [
        [setup["name"], setup["device"], *(_number(setup[name]) for name in numbers)]
        for setup in setups
    ]
    return f"The service over HTTP:\n\n{render_table(header, rows)}"


def _loads(setups: list[dict[str, Any]]) -> str:
    header = [
        *("set-up", "load", "tiles/s", "p50 (ms)", "p99 (ms)"),
        *("queue, decode, inference (ms)", "tiles per batch", "cores busy", "GPU busy"),
    ]
    numbers = ("tiles_per_s", "p50_ms", "p99_ms")
    rows = [
        [
            setup["name"],
            f"{_load_name(load)}{_failures(load)}",
            *(_number(load[name]) for name in numbers),
            ", ".join(_number(load["stage_ms"][stage]) for stage in load["stage_ms"]),
            _number(load["tiles_per_batch"]),
            _number(load["busy_cores"]),
            _NOTHING if load["gpu_percent"] is None else f"{load['gpu_percent']:.0f} %",
        ]
        for setup in setups
        for load in setup["loads"]
    ]
    return f"Each client waits for its answer:\n\n{render_table(header, rows)}"


def _load_name(load: dict[str, Any]) -> str:
    n_tiles = load["tiles_per_request"]
    form = f" with {n_tiles} tiles" if n_tiles > 1 else ""
    clients = "1 client" if load["clients"] == 1 else f"{load['clients']} clients"
    return f"{clients}{form}"


def _failures(load: dict[str, Any]) -> str:
    return f" ({load['n_failed']} failed)" if load["n_failed"] else ""


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"
