from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bodies import encode_batches, encode_form, encode_raw, write_bodies
from benchmarks.publish import Results, replace_section
from benchmarks.report import (
    Ratio,
    best_peer,
    median_cell,
    percentile,
    quotient,
    ratios,
    slope,
)
from benchmarks.soak import Sample, summarise
from benchmarks.tables import render_report, render_table
from benchmarks.wrk import parse_load

WRK_OUTPUT = """Running 3s test @ http://127.0.0.1:8000/v1/classify
  1 threads and 8 connections
Requests/sec:     48.10

{"duration_us": 2000000, "p50_us": 48502, "p99_us": 90298, "statuses": {"429": 5, "200": 290}, \
"socket_errors": 1, "timeouts": 2}
"""


def load(tiles_per_s: float, p50_ms: float = 10.0, p99_ms: float = 15.0) -> dict[str, Any]:
    return {
        "tiles_per_s": tiles_per_s,
        "p50_ms": p50_ms,
        "p99_ms": p99_ms,
        "statuses": {"200": 100},
        "n_failed": 0,
    }


def server(cells: Mapping[str, Any]) -> dict[str, Any]:
    return {"ready_s": [0.8, 0.9, 1.0], "peak_rss_mib": [150.0], "cells": {"multipart": cells}}


@pytest.fixture
def results() -> Results:
    return {
        "machine": {
            "date": "2026-01-01T00:00:00+00:00",
            "cores": 2,
            "cpu": "a processor",
            "memory_gib": 8,
            "python": "3.11.7",
            "load_at_start": 0.1,
            "versions": {"wrk": "4.1.0"},
        },
        "settings": {
            "seconds": 8.0,
            "rounds": 3,
            "tiles": "drawn",
            "n_tiles": 24,
            "mean_tile_kib": 200.0,
        },
        "in_process": {"fp32": {"tiles_per_s": [170.0, 160.0], "one_tile_ms": [10.0]}},
        "servers": {
            "osteo": server(
                {"1": [load(90, 11.0)], "8": [load(150), load(140), load(160)], "32": [load(155)]}
            ),
            "naive_fastapi": server({"8": [load(8)]}),
            "litserve": server({"8": [load(30), load(50)]}),
        },
        "notes": ["int8 was not measured"],
    }


def value_of(results: Results, what: str) -> float | None:
    return next(ratio.value for ratio in ratios(results) if what in ratio.what)


def test_parse_load_reads_the_line_after_the_report() -> None:
    parsed = parse_load(WRK_OUTPUT, clients=8)
    assert parsed.tiles_per_s == 145.0
    assert (parsed.p50_ms, parsed.p99_ms) == (48.502, 90.298)
    assert parsed.statuses == {200: 290, 429: 5}


def test_parse_load_counts_every_request_without_2xx_as_failed() -> None:
    assert parse_load(WRK_OUTPUT, clients=8).n_failed == 5 + 1 + 2


def test_parse_load_counts_tiles_rather_than_requests() -> None:
    assert parse_load(WRK_OUTPUT, clients=8, n_tiles=16).tiles_per_s == 145.0 * 16


def test_parse_load_raises_without_a_result() -> None:
    with pytest.raises(RuntimeError, match="no result: unable to connect"):
        parse_load("unable to connect", clients=8)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2.0), (99, 4.0), (0, 1.0)])
def test_percentile_is_one_of_the_values(percent: float, expected: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], percent) == expected


def test_median_cell_is_over_rounds(results: Results) -> None:
    assert median_cell(results, "osteo", "tiles_per_s") == 150


def test_median_cell_is_none_when_not_measured(results: Results) -> None:
    assert median_cell(results, "bentoml", "tiles_per_s") is None


def test_best_peer_is_not_our_service(results: Results) -> None:
    assert best_peer(results) == ("litserve", 40)


def test_quotient_is_none_when_a_value_is_missing() -> None:
    assert quotient(None, 2.0) is None
    assert quotient(2.0, None) is None
    assert quotient(2.0, 0.0) is None


def test_ratios_compare_medians(results: Results) -> None:
    assert value_of(results, "best peer") == 150 / 40
    assert value_of(results, "naive") == 150 / 8
    assert value_of(results, "in-process limit") == 150 / 165
    assert value_of(results, "p99 / p50") == 1.5
    assert value_of(results, "1 client") == 1.1


def test_ratio_is_none_when_a_value_was_not_measured(results: Results) -> None:
    assert value_of(results, "int8") is None


@pytest.mark.parametrize(
    ("ratio", "expected"),
    [
        (Ratio("more", 4.0, "at least", 4), True),
        (Ratio("more", 3.9, "at least", 4), False),
        (Ratio("less", 2.1, "at most", 2), False),
        (Ratio("less", None, "at most", 2), None),
    ],
)
def test_ratio_is_met_when_it_reaches_its_goal(ratio: Ratio, expected: bool | None) -> None:
    assert ratio.is_met is expected


def test_render_table_pads_and_aligns() -> None:
    assert render_table(["server", "n"], [["a", "10"]]) == (
        "| server |  n |\n| ------ | -: |\n| a      | 10 |"
    )


def test_render_report_names_servers_ratios_machine_and_notes(results: Results) -> None:
    report = render_report(results)
    assert "| LitServe, batching" in report
    assert "| tiles/s / best peer, 8 clients" in report
    assert "3.75" in report
    assert "2 cores (a processor, 8 GiB)" in report
    assert "- int8 was not measured" in report


def test_replace_section_preserves_the_rest_of_the_page() -> None:
    page = "before\n<!-- serving:begin -->\nold\n<!-- serving:end -->\nafter\n"
    assert replace_section(page, "serving", "new\n") == (
        "before\n<!-- serving:begin -->\nnew\n<!-- serving:end -->\nafter\n"
    )


def test_replace_section_rejects_a_page_without_markers() -> None:
    with pytest.raises(ValueError, match="markers"):
        replace_section("a page", "serving", "new")


def test_slope_of_a_flat_line_is_zero() -> None:
    assert slope([1.0, 2.0, 3.0], [5.0, 5.0, 5.0]) == 0.0
    assert slope([1.0], [5.0]) == 0.0


def test_soak_measures_growth_after_memory_has_settled() -> None:
    sizes_mib = [100.0, 150.0, 150.0, 150.0]
    samples = [Sample(i * 1000, float(i), rss_mib) for i, rss_mib in enumerate(sizes_mib)]
    soaked = summarise(samples, n_failed=0)
    assert soaked["settled_rss_mib"] == 150.0
    assert soaked["mib_per_10000_requests"] == 0.0


def test_encode_form_puts_the_tiles_in_the_field(tmp_path: Path) -> None:
    tile = tmp_path / "a.png"
    tile.write_bytes(b"pixels")
    body = encode_form("files", [tile, tile])
    assert body.n_tiles == 2
    assert body.content.count(b'name="files"; filename="tile.png"') == 2
    assert body.content.count(b"\r\n\r\npixels\r\n") == 2
    assert body.content.endswith(b"--\r\n")


def test_encode_batches_sends_every_tile_in_full_batches(tmp_path: Path) -> None:
    tiles = [tmp_path / f"{i}.jpg" for i in range(3)]
    for tile in tiles:
        tile.write_bytes(tile.name.encode())
    batches = encode_batches("files", tiles, n_tiles=2)
    assert [batch.n_tiles for batch in batches] == [2, 2]
    assert all(tile.name.encode() in b"".join(b.content for b in batches) for tile in tiles)


def test_write_bodies_writes_one_content_type(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.jpg"):
        (tmp_path / name).write_bytes(b"pixels")
    bodies = [encode_raw(tmp_path / name) for name in ("a.jpg", "b.png", "c.jpg")]
    written = write_bodies(bodies, tmp_path / "bodies")
    assert written.content_type == "image/jpeg"
    assert len(written.files) == 2
