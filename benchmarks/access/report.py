"""The report of `benchmarks.access` as Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from benchmarks.access.flood import ALONE, FULL, N_KEYED, N_UNKEYED, ONE_ADDRESS, UNKEYED
from benchmarks.publish import Results
from benchmarks.tables import render_table

MAX_ADDED_PERCENT: Final = 5.0
MIN_AUDIT_RATIO: Final = 0.97
MIN_GOODPUT: Final = 0.9
_CHECKED: Final = ("API key", "API key and rate limit", "access token, cached")
_AUDIT_ON: Final = "on, SQLite"


def render_access(results: Results) -> str:
    """Render the tables and conditions of every part that was measured, and the goals."""
    parts = {"callers": _callers, "audit": _audit, "flood": _flood}
    texts = [_goals(results)]
    for name, render in parts.items():
        if name in results:
            texts += [render(results[name]), _conditions(results[name])]
    return "\n\n".join(texts)


def _goals(results: Results) -> str:
    rows: list[list[str]] = []
    if "callers" in results:
        tile_us = 1e3 * results["callers"]["tiles"][0]["cpu_ms"]
        for found in results["callers"]["requests"]:
            if found["title"] in _CHECKED:
                share = 100 * found["added_cpu_us"] / tile_us
                row = [f"{found['title']}, share of a tile's processor time", f"{share:.1f} %"]
                rows.append(
                    [*row, f"at most {MAX_ADDED_PERCENT:g} %", _yes(share <= MAX_ADDED_PERCENT)]
                )
    if "audit" in results:
        (on,) = [c for c in results["audit"]["tiles"] if c["title"] == _AUDIT_ON]
        rows += [
            _at_least("audit on / off, tiles/s", on["per_s_ratio"], MIN_AUDIT_RATIO),
            _at_least("audit off / on, processor time", 1 / on["cpu_ratio"], MIN_AUDIT_RATIO),
        ]
    if "flood" in results:
        goodput, refusals = results["flood"]["goodput"], results["flood"]["refusals"]
        beside = goodput[ONE_ADDRESS]
        rows += [
            _at_least(f"goodput beside {N_UNKEYED} unkeyed / alone", beside["ratio"], MIN_GOODPUT),
            _at_least("the same, by processor time", 1 / beside["cpu_ratio"], MIN_GOODPUT),
        ]
        ratio = refusals[UNKEYED] / refusals[FULL]
        rows.append(
            ["refusal without a key / by a full queue", f"{ratio:.2f}", "below 1", _yes(ratio < 1)]
        )
    return render_table(["goal", "measured", "goal is", "met"], rows)


def _callers(part: Mapping[str, Any]) -> str:
    header = [
        *("callers", "tiles/s", "ratio", "CPU a tile (ms)", "ratio (quartiles)"),
        *("CPU a small request (ms)", "added (us)"),
    ]
    rows = [
        [
            *_tile_cells(tiles),
            f"{small['cpu_ms']:.2f}",
            f"{small['added_cpu_us']:+.0f}" if small is not part["requests"][0] else "-",
        ]
        for tiles, small in zip(part["tiles"], part["requests"], strict=True)
    ]
    return render_table(header, rows)


def _audit(part: Mapping[str, Any]) -> str:
    header = [
        *("audit", "tiles/s", "ratio", "CPU a tile (ms)", "ratio (quartiles)"),
        *("1 client: p50 (ms)", "p99 (ms)", "added p50", "added p99"),
    ]
    off = part["single"][0]
    rows = []
    for tiles, single in zip(part["tiles"], part["single"], strict=True):
        added = ["-", "-"]
        if single is not off:
            added = [f"{single[name] - off[name]:+.1f}" for name in ("p50_ms", "p99_ms")]
        rows.append(
            [*_tile_cells(tiles), f"{single['p50_ms']:.1f}", f"{single['p99_ms']:.1f}", *added]
        )
    return render_table(header, rows)


def _flood(part: Mapping[str, Any]) -> str:
    header = [f"{N_KEYED} clients with a key", "tiles/s", "ratio", "CPU a tile (ms)", "CPU ratio"]
    rows = [
        [
            "alone" if kind == ALONE else f"beside {N_UNKEYED} without, {kind}",
            f"{found['per_s']:.1f}",
            f"{found['ratio']:.2f}" if kind != ALONE else "-",
            f"{found['cpu_ms']:.1f}",
            f"{found['cpu_ratio']:.2f}" if kind != ALONE else "-",
            f"{found['refused_per_s']:.0f}" if kind != ALONE else "-",
        ]
        for kind, found in part["goodput"].items()
    ]
    goodput = render_table([*header, "refused/s"], rows)
    costs = [[kind, f"{cost_ms:.2f}"] for kind, cost_ms in part["refusals"].items()]
    return f"{goodput}\n\n{render_table(['a refused request with a tile', 'CPU (ms)'], costs)}"


def _tile_cells(found: Mapping[str, Any]) -> Sequence[str]:
    is_baseline = found["cpu_ratio"] == found["per_s_ratio"] == 1
    low, high = found["cpu_quartiles"]
    return [
        found["title"],
        f"{found['per_s']:.1f}",
        "-" if is_baseline else f"{found['per_s_ratio']:.2f}",
        f"{found['cpu_ms']:.1f}",
        "-" if is_baseline else f"{found['cpu_ratio']:.3f} ({low:.2f} to {high:.2f})",
    ]


def _conditions(part: Mapping[str, Any]) -> str:
    machine = part["machine"]
    return (
        f"Measured {machine['date']} on {machine['cores']} cores ({machine['cpu']}), load "
        f"{machine['load_at_start']} at start, {part['tiles_are']}; medians of "
        f"{part['n_rounds']} rounds, {part['n_tiles']} tiles from 8 clients in a turn."
    )


def _at_least(what: str, value: float, goal: float) -> list[str]:
    return [what, f"{value:.2f}", f"at least {goal:g}", _yes(value >= goal)]


def _yes(is_met: bool) -> str:
    return "yes" if is_met else "no"
