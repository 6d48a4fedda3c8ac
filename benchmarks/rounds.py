"""The measurement itself: every server once a round, in an order that turns, and the limit between.

Only one server is alive at a time. Servers take turns so that a machine that slows down for a
minute slows all of them, and each starts anew every round, which also times its start.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from app.bundle import Bundle
from benchmarks.bodies import Body, BodyFiles, encode_batches, encode_form, encode_raw, write_bodies
from benchmarks.environments import WORK_DIR
from benchmarks.inprocess import InProcess
from benchmarks.offline import classify_folder
from benchmarks.overload import measure_overload
from benchmarks.probe import post
from benchmarks.processes import RunningServer, running
from benchmarks.report import BATCH_CLIENTS, Results
from benchmarks.servers import OURS, Server
from benchmarks.wrk import Load, run_wrk

_CLIENTS: Final = (1, 8, 32)
_PEAK_CLIENTS: Final = 32
_WARM_UP_CLIENTS: Final = 8
_TILES_PER_BATCH: Final = 16
# A crowd that queues for seconds is only seen after seconds; and of the ten tiles a second that are
# posted beside it some hundreds are needed, or their p99 is their worst.
_OVERLOAD_CELLS: Final = 4
# What is under way when a cell ends does not count, and with batches that is 64 tiles.
_BATCH_CELLS: Final = 3
_N_CHECKED: Final = 6
INT8_NAME: Final = "model-int8.tflite"


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured.

    Attributes:
        seconds: of each cell.
        rounds: medians are taken over these.
        overload_clients: 0 leaves the overload out.
        with_folder: whether `osteo classify` is timed.
    """

    seconds: float
    rounds: int
    overload_clients: int
    with_folder: bool


class Bench:
    """The tiles as bodies, the in-process interpreters, and the results as they come in."""

    def __init__(self, plan: Plan, bundle: Bundle, tiles: Sequence[Path]) -> None:
        """Prepare bodies and interpreters."""
        self._plan, self._bundle, self._tiles = plan, bundle, tiles
        self._forms = [encode_form("file", [tile]) for tile in tiles]
        folder = WORK_DIR / "bodies"
        self.bodies: dict[str, BodyFiles] = {
            "multipart": write_bodies(self._forms, folder / "multipart"),
            "raw": write_bodies([encode_raw(tile) for tile in tiles], folder / "raw"),
            "batch": write_bodies(
                encode_batches("files", tiles, _TILES_PER_BATCH), folder / "batch"
            ),
        }
        files = {"fp32": bundle.litert_file, "int8": bundle.path / INT8_NAME}
        self._limits = {
            precision: InProcess(file, bundle.manifest, tiles)
            for precision, file in files.items()
            if file.is_file()
        }
        self.results: Results = {
            "in_process": {name: {"tiles_per_s": [], "one_tile_ms": []} for name in self._limits},
            "servers": {},
            "notes": [],
        }

    def run(self, servers: Sequence[Server]) -> None:
        """Measure all rounds; a server that cannot be measured becomes a note."""
        failed: set[str] = set()
        for i in range(self._plan.rounds):
            self._measure_limit()
            # The order turns, so that no server always runs after the same one.
            for server in (*servers[i % len(servers) :], *servers[: i % len(servers)]):
                if server.name in failed:
                    continue
                print(f"round {i + 1} of {self._plan.rounds}: {server.name}", file=sys.stderr)
                try:
                    self._measure_server(server)
                except (RuntimeError, OSError) as error:
                    failed.add(server.name)
                    self.results["notes"].append(f"{server.name} was not measured: {error}")
            if self._plan.with_folder and OURS in self.results["servers"]:
                self._measure_folder()
        self._order_like(servers)

    def overload(self, server: Server) -> None:
        """Measure our service under a crowd."""
        print(f"overload: {self._plan.overload_clients} clients", file=sys.stderr)
        with running(server, self._bundle.path) as process:
            self._warm_up(process)
            self.results["overload"] = measure_overload(
                process,
                self.bodies["multipart"],
                self._forms[0],
                _PEAK_CLIENTS,
                self._plan.overload_clients,
                _OVERLOAD_CELLS * self._plan.seconds,
            )

    def _measure_limit(self) -> None:
        for precision, limit in self._limits.items():
            measured = limit.measure(max(2.0, self._plan.seconds))
            for key, value in asdict(measured).items():
                self.results["in_process"][precision][key].append(value)

    def _measure_server(self, server: Server) -> None:
        with running(server, self._bundle.path) as process:
            difference = self._check_answers(process)
            self._warm_up(process)
            kept = self.results["servers"].setdefault(
                server.name, {"ready_s": [], "peak_rss_mib": [], "cells": {}}
            )
            for clients in _CLIENTS:
                for body in ("multipart",) if server.is_peer else ("multipart", "raw"):
                    load = self._load(process, body, clients)
                    _keep(kept["cells"], body, clients, load)
            kept["ready_s"].append(process.ready_s)
            kept["peak_rss_mib"].append(process.peak_rss_mib())
            kept["largest_probability_difference"] = difference
            if server.name == OURS:
                # Last: larger bodies would otherwise count as the memory of single tiles.
                load = self._load(process, "batch", BATCH_CLIENTS)
                _keep(kept["cells"], "batch", BATCH_CLIENTS, load)
        if server.name == OURS:
            # Before and after our service: the ratio that is claimed compares neighbours in time.
            self._measure_limit()

    def _load(self, process: RunningServer, body: str, clients: int) -> Load:
        url = process.classify_url + ("/batch" if body == "batch" else "")
        n_cells = _BATCH_CELLS if body == "batch" else 1
        return run_wrk(url, self.bodies[body], clients, n_cells * self._plan.seconds)

    def _warm_up(self, process: RunningServer) -> None:
        seconds = min(3.0, self._plan.seconds)
        run_wrk(process.classify_url, self.bodies["multipart"], _WARM_UP_CLIENTS, seconds)

    def _check_answers(self, process: RunningServer) -> float:
        """Hold the first answers against the in-process ones; returns the largest difference."""
        expected = self._limits["fp32"].probabilities(min(_N_CHECKED, len(self._tiles)))
        answers = [self._ask(process, form) for form in self._forms[: len(expected)]]
        return float(np.abs(np.array(answers) - expected).max())

    def _ask(self, process: RunningServer, form: Body) -> list[float]:
        reply = post(process.port, process.server.classify_path, form)
        if reply.status != 200:
            raise RuntimeError(f"a tile was answered with {reply.status}: {reply.content}")
        # BentoML answers a batching endpoint with a list, of one answer for one tile.
        answer = reply.content[0] if isinstance(reply.content, list) else reply.content
        try:
            probabilities = answer["probabilities"]
            return [float(probabilities[name]) for name in self._bundle.manifest.label_ids]
        except (TypeError, KeyError) as error:
            raise RuntimeError(f"a tile was answered without probabilities: {answer}") from error

    def _measure_folder(self) -> None:
        print("osteo classify", file=sys.stderr)
        rate = statistics.median(self.results["in_process"]["fp32"]["tiles_per_s"])
        run = classify_folder(self._tiles, max(64, round(rate * self._plan.seconds)))
        folder = self.results.setdefault("folder", {})
        for key, value in asdict(run).items():
            folder.setdefault(key, []).append(value)
        self._measure_limit()

    def _order_like(self, servers: Sequence[Server]) -> None:
        kept = self.results["servers"]
        self.results["servers"] = {s.name: kept[s.name] for s in servers if s.name in kept}


def _keep(cells: dict[str, Any], body: str, clients: int, load: Load) -> None:
    of_clients = cells.setdefault(body, {})
    of_clients.setdefault(str(clients), []).append(load.to_json())
