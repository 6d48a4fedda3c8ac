"""Measure every server once per round, in rotating order, and the in-process limit in between.

Only one server runs at a time. Because servers take turns, a machine that slows down for a minute
affects all of them. Each server starts anew in every round, which also times its start.
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
from benchmarks.publish import Results
from benchmarks.report import BATCH_CLIENTS
from benchmarks.servers import OURS, Server
from benchmarks.wrk import Load, run_wrk

_CLIENTS: Final = (1, 8, 32)
_PEAK_CLIENTS: Final = 32
_WARM_UP_CLIENTS: Final = 8
_TILES_PER_BATCH: Final = 16
# A queue of several seconds takes time to build up, and a p99 needs some hundreds of the ten tiles
# per second that are posted meanwhile.
_OVERLOAD_CELLS: Final = 4
# Tiles in flight when a cell ends do not count; with batches there are 64.
_BATCH_CELLS: Final = 3
_N_CHECKED: Final = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """How much to measure.

    Attributes:
        seconds: duration of each cell.
        rounds: number of rounds, over which medians are taken.
        overload_clients: number of clients of the overload; 0 skips it.
        with_folder: whether to time `osteo classify`.
    """

    seconds: float
    rounds: int
    overload_clients: int
    with_folder: bool


class Bench:
    """Request bodies, in-process interpreters, and the results so far."""

    def __init__(self, plan: Plan, bundle: Bundle, files: Sequence[Path]) -> None:
        """Prepare bodies and interpreters."""
        self._plan, self._bundle, self._files = plan, bundle, files
        self._forms = [encode_form("file", [file]) for file in files]
        folder = WORK_DIR / "bodies"
        self.bodies: dict[str, BodyFiles] = {
            "multipart": write_bodies(self._forms, folder / "multipart"),
            "raw": write_bodies([encode_raw(file) for file in files], folder / "raw"),
            "batch": write_bodies(
                encode_batches("files", files, _TILES_PER_BATCH), folder / "batch"
            ),
        }
        model_files = {"fp32": bundle.litert_file, "int8": bundle.int8_file}
        self._limits = {
            precision: InProcess(model_file, bundle.manifest, files)
            for precision, model_file in model_files.items()
            if model_file.is_file()
        }
        self.results: Results = {
            "in_process": {name: {"tiles_per_s": [], "one_tile_ms": []} for name in self._limits},
            "servers": {},
            "notes": [],
        }

    def run(self, servers: Sequence[Server]) -> None:
        """Measure all rounds; a server that cannot be measured gets a note."""
        failed: set[str] = set()
        for i in range(self._plan.rounds):
            self._measure_limit()
            # In rotating order, so that no server always runs after the same one.
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
        """Measure our service under overload."""
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
            measured = self.results["servers"].setdefault(
                server.name, {"ready_s": [], "peak_rss_mib": [], "cells": {}}
            )
            for clients in _CLIENTS:
                for body in ("multipart",) if server.is_peer else ("multipart", "raw"):
                    load = self._load(process, body, clients)
                    _add_load(measured["cells"], body, clients, load)
            measured["ready_s"].append(process.ready_s)
            measured["peak_rss_mib"].append(process.peak_rss_mib())
            measured["largest_probability_difference"] = difference
            if server.name == OURS:
                # Last, because larger bodies would raise the peak memory of single tiles.
                load = self._load(process, "batch", BATCH_CLIENTS)
                _add_load(measured["cells"], "batch", BATCH_CLIENTS, load)
        if server.name == OURS:
            # Before and after our service, so that their ratio compares neighbours in time.
            self._measure_limit()

    def _load(self, process: RunningServer, body: str, clients: int) -> Load:
        url = process.classify_url + ("/batch" if body == "batch" else "")
        n_cells = _BATCH_CELLS if body == "batch" else 1
        return run_wrk(url, self.bodies[body], clients, n_cells * self._plan.seconds)

    def _warm_up(self, process: RunningServer) -> None:
        seconds = min(3.0, self._plan.seconds)
        run_wrk(process.classify_url, self.bodies["multipart"], _WARM_UP_CLIENTS, seconds)

    def _check_answers(self, process: RunningServer) -> float:
        """Largest difference of the first answers from the in-process probabilities."""
        expected = self._limits["fp32"].probabilities(min(_N_CHECKED, len(self._files)))
        answers = [self._ask(process, form) for form in self._forms[: len(expected)]]
        return float(np.abs(np.array(answers) - expected).max())

    def _ask(self, process: RunningServer, form: Body) -> list[float]:
        reply = post(process.port, process.server.classify_path, form)
        if reply.status != 200:
            raise RuntimeError(f"it answered a tile with status {reply.status}: {reply.content}")
        # BentoML's batching endpoint answers with a list of one.
        answer = reply.content[0] if isinstance(reply.content, list) else reply.content
        try:
            probabilities = answer["probabilities"]
            return [float(probabilities[name]) for name in self._bundle.manifest.label_ids]
        except (TypeError, KeyError) as error:
            raise RuntimeError(f"it answered a tile without probabilities: {answer}") from error

    def _measure_folder(self) -> None:
        print("osteo classify", file=sys.stderr)
        rate = statistics.median(self.results["in_process"]["fp32"]["tiles_per_s"])
        run = classify_folder(self._files, max(64, round(rate * self._plan.seconds)))
        folder = self.results.setdefault("folder", {})
        for key, value in asdict(run).items():
            folder.setdefault(key, []).append(value)
        self._measure_limit()

    def _order_like(self, servers: Sequence[Server]) -> None:
        measured = self.results["servers"]
        self.results["servers"] = {s.name: measured[s.name] for s in servers if s.name in measured}


def _add_load(cells: dict[str, Any], body: str, clients: int, load: Load) -> None:
    cells.setdefault(body, {}).setdefault(str(clients), []).append(load.to_json())
