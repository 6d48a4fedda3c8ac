"""The report of a serving run as Markdown tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.publish import Results
from benchmarks.report import (
    BATCH_CLIENTS,
    CHOSEN_CLIENTS,
    limit_of,
    median_cell,
    median_of,
    ratios,
)
from benchmarks.servers import OURS, SERVERS

_CLIENTS: Final = (1, 8, 32)
_NOTHING: Final = "-"


def render_report(results: Results) -> str:
    """Render every table, for the terminal and for the documentation."""
    parts = [_servers(results), _ratios(results), _folder(results)]
    if results.get("overload"):
        parts.append(_overload(results["overload"]))
    if results.get("soak"):
        parts.append(_soak(results["soak"]))
    parts.append(_provenance(results))
    if results.get("notes"):
        parts.append("\n".join(f"- {note}" for note in results["notes"]))
    return "\n\n".join(part for part in parts if part)


def render_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Render a Markdown table, padded to be read as plain text, with numbers aligned right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return f"| {' | '.join([first, *others])} |"

    rule = " | ".join(["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])])
    return "\n".join([line(header), f"| {rule} |", *(line(row) for row in rows)])


def _servers(results: Results) -> str:
    if not results["servers"]:
        return ""
    header = [
        "server",
        *(f"tiles/s, {n}" for n in _CLIENTS),
        *("p50, 1 (ms)", "p50, 8 (ms)", "p99, 8 (ms)"),
        *("failed", "ready (s)", "memory (MiB)"),
    ]
    rows = []
    for name, server in results["servers"].items():
        bodies = [body for body in server["cells"] if body != "batch"]
        rows += [_server_row(results, name, body) for body in bodies]
    for precision in results["in_process"]:
        one_tile = limit_of(results, precision, "one_tile_ms")
        rate = _number(limit_of(results, precision))
        title = f"in process, no HTTP, LiteRT {precision}"
        rows.append([title, _NOTHING, rate, rate, _number(one_tile), *[_NOTHING] * 5])
    return render_table(header, rows)


def _server_row(results: Results, name: str, body: str) -> list[str]:
    server = results["servers"][name]
    loads = [load for of_clients in server["cells"][body].values() for load in of_clients]
    n_replies = sum(sum(load["statuses"].values()) for load in loads)
    n_failed = sum(load["n_failed"] for load in loads)
    suffix = "" if body == "multipart" else f", {body} body"
    return [
        SERVERS[name].title + suffix,
        *(_number(median_cell(results, name, "tiles_per_s", n, body)) for n in _CLIENTS),
        _number(median_cell(results, name, "p50_ms", 1, body)),
        _number(median_cell(results, name, "p50_ms", CHOSEN_CLIENTS, body)),
        _number(median_cell(results, name, "p99_ms", CHOSEN_CLIENTS, body)),
        f"{100 * n_failed / max(1, n_replies):.1f} %" if n_failed else "0",
        _number(median_of(server["ready_s"])),
        _number(median_of(server["peak_rss_mib"])),
    ]


def _ratios(results: Results) -> str:
    words = {True: "yes", False: "no", None: "not measured"}
    rows = [
        [
            ratio.what,
            _NOTHING if ratio.value is None else f"{ratio.value:.2f}{ratio.unit}",
            f"{ratio.bound} {ratio.goal:g}{ratio.unit}",
            words[ratio.is_met],
        ]
        for ratio in ratios(results)
    ]
    return render_table(["our service", "measured", "goal", "met"], rows)


def _folder(results: Results) -> str:
    rows = []
    folder = results.get("folder")
    if folder:
        n_tiles = folder["n_tiles"][0]
        rows = [
            [f"`osteo classify`, {n_tiles} tiles", _number(median_of(folder["tiles_per_s"]))],
            ["the same, excluding start-up", _number(median_of(folder["steady_tiles_per_s"]))],
        ]
    batch = median_cell(results, OURS, "tiles_per_s", BATCH_CLIENTS, "batch")
    if batch is not None:
        rows.append([f"`/v1/classify/batch`, {BATCH_CLIENTS} clients", _number(batch)])
    return render_table(["many tiles", "tiles/s"], rows) if rows else ""


def _overload(overload: dict[str, Any]) -> str:
    header = [
        f"{overload['clients']} clients",
        *("tiles/s", "share of peak", "rejected (429)", "429 p50, p99, max (ms)"),
        *("200 p50, p99, max (ms)", "`/readyz` p50, p99, max (ms)", "other"),
    ]
    rows = [
        _overload_row(title, overload[key], overload["peak_tiles_per_s"])
        for title, key in (
            ("obey `Retry-After`", "waiting"),
            ("retry at once", "hammering"),
        )
    ]
    return render_table(header, rows)


def _overload_row(title: str, load: dict[str, Any], peak: float) -> list[str]:
    others = [f"{n} x {status}" for status, n in load["other_statuses"].items()]
    others += [
        f"{load[key]} {key.replace('_', ' ')}"
        for key in ("socket_errors", "timeouts", "readiness_failed")
        if load[key]
    ]
    return [
        title,
        _number(load["tiles_per_s"]),
        f"{load['tiles_per_s'] / peak:.2f}" if peak else _NOTHING,
        f"{100 * load['refused_share']:.1f} %",
        *(_latencies(load[key]) for key in ("refusal_ms", "accepted_ms", "readiness_ms")),
        "; ".join(others) or "none",
    ]


def _soak(soak: dict[str, Any]) -> str:
    return (
        f"Over {soak['n_requests']:,} requests ({soak['n_failed']} failed), resident memory was "
        f"{soak['settled_rss_mib']:.0f} MiB after settling and {soak['last_rss_mib']:.0f} MiB at "
        f"the end: {soak['mib_per_10000_requests']:+.2f} MiB per 10,000 requests."
    )


def _provenance(results: Results) -> str:
    machine, settings = results["machine"], results["settings"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    where = f"{machine['cores']} cores ({machine['cpu']}, {machine['memory_gib']} GiB)"
    tiles = f"{settings['n_tiles']} tiles ({settings['tiles']}, {settings['mean_tile_kib']:.0f} KiB"
    rounds = "1 round" if settings["rounds"] == 1 else f"medians of {settings['rounds']} rounds"
    return (
        f"Measured {machine['date']} on {where} with Python {machine['python']}, load "
        f"{machine['load_at_start']} at start; {tiles} on average); {rounds} of "
        f"{settings['seconds']:g} s per cell. Versions: {versions}."
    )


def _number(value: float | None) -> str:
    if value is None:
        return _NOTHING
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}"


def _latencies(latency: dict[str, float] | None) -> str:
    return (
        ", ".join(f"{latency[key]:.0f}" for key in ("p50", "p99", "max")) if latency else _NOTHING
    )
