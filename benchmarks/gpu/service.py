"""Load the real service over HTTP in several set-ups, and say what it spent its time on."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from prometheus_client.parser import text_string_to_metric_families

from app.bundle import Bundle
from benchmarks.bodies import BodyFiles, encode_batches, encode_form, write_bodies
from benchmarks.environments import WORK_DIR
from benchmarks.gpu.card import sampled_utilisation, used_memory_mib
from benchmarks.probe import get
from benchmarks.processes import RunningServer, running
from benchmarks.servers import Server, serve_command
from benchmarks.wrk import run_wrk

TILES_PER_FORM: Final = 16
_FORM_CLIENTS: Final = 16
_IDLE_WITHIN_S: Final = 60.0
_STAGES: Final = ("queue", "decode", "inference")
_BASE_ENV: Final = {"OSTEO_MAX_TILES_IN_FLIGHT": "512", "OSTEO_METRICS_OPEN": "true"}


@dataclass(frozen=True, slots=True)
class Setup:
    """A way to configure the service: its name in the report, and its settings."""

    name: str
    env: Mapping[str, str]

    def server(self, extra: Mapping[str, str]) -> Server:
        """The service as `running` starts it."""
        slug = "".join(letter if letter.isalnum() else "-" for letter in self.name)
        env = {**_BASE_ENV, **self.env, **extra}
        return Server(f"gpu-{slug}", self.name, serve_command, "/v1/classify", "/readyz", env)


def auto(name: str, **env: str) -> Setup:
    """A set-up that uses the GPU if TensorFlow sees it."""
    return Setup(name, {"OSTEO_RUNTIME": "auto", **env})


CPU: Final = Setup("LiteRT on the CPU", {"OSTEO_RUNTIME": "litert"})
DEFAULT: Final = auto("default (32 tiles, 2 ms)")
OTHERS: Final = (
    auto("128 tiles, 5 ms", OSTEO_MAX_BATCH_TILES="128", OSTEO_MAX_BATCH_DELAY_MS="5"),
    auto("8 tiles, 2 ms", OSTEO_MAX_BATCH_TILES="8"),
    auto("32 tiles, 0 ms", OSTEO_MAX_BATCH_DELAY_MS="0"),
    auto("default, mixed precision", OSTEO_GPU_MIXED_PRECISION="true"),
    auto("default, XLA", OSTEO_GPU_XLA="true"),
)


@dataclass(frozen=True, slots=True)
class Bodies:
    """Request bodies with one tile, and with `TILES_PER_FORM`."""

    single: BodyFiles
    form: BodyFiles

    @classmethod
    def of(cls, files: Sequence[Path]) -> Bodies:
        """Write the bodies of these tiles for `wrk`."""
        folder = WORK_DIR / "bodies" / "gpu"
        return cls(
            write_bodies([encode_form("file", [file]) for file in files], folder / "single"),
            write_bodies(encode_batches("files", files, TILES_PER_FORM), folder / "form"),
        )


def measure_start(setup: Setup, bundle: Bundle, extra: Mapping[str, str]) -> float:
    """Seconds from the start of the service until it is ready."""
    with running(setup.server(extra), bundle.path) as process:
        return process.ready_s


def measure_setup(
    setup: Setup,
    bundle: Bundle,
    bodies: Bodies,
    clients: Sequence[int],
    seconds: float,
    extra: Mapping[str, str],
) -> dict[str, Any]:
    """Start the service and load it in a closed loop, with one tile per request and with many."""
    with running(setup.server(extra), bundle.path) as process:
        url = process.classify_url
        run_wrk(url, bodies.single, max(clients), 1.0)  # warm-up
        loads = [_load(process, url, bodies.single, n, seconds) for n in clients]
        loads.append(_load(process, f"{url}/batch", bodies.form, _FORM_CLIENTS, seconds))
        runtime = get(process.port, "/v1/models").content["models"][0]
        return {
            "name": setup.name,
            "runtime": runtime["runtime"],
            "device": runtime["device"],
            "ready_s": process.ready_s,
            "rss_mib": process.peak_rss_mib(),
            "gpu_memory_mib": used_memory_mib(),
            "loads": loads,
        }


def _load(
    process: RunningServer, url: str, bodies: BodyFiles, clients: int, seconds: float
) -> dict[str, Any]:
    _wait_until_idle(process.port)  # the tiles of the load before
    before, started = _counters(process.port), time.perf_counter()
    with sampled_utilisation() as gpu:
        load = run_wrk(url, bodies, clients, seconds)
    elapsed_s = time.perf_counter() - started
    after = _counters(process.port)
    spent = {key: after[key] - before.get(key, 0.0) for key in after}
    n_tiles = spent.get("n", 0.0)
    return {
        **load.to_json(),
        "tiles_per_request": bodies.n_tiles,
        "stage_ms": {
            stage: 1e3 * spent.get(stage, 0.0) / n_tiles if n_tiles else None for stage in _STAGES
        },
        "busy_cores": spent["cpu_s"] / elapsed_s,
        "tiles_per_batch": spent["batch_tiles"] / spent["batches"]
        if spent.get("batches")
        else None,
        "gpu_percent": gpu.median_percent,
    }


def _wait_until_idle(port: int) -> None:
    """Wait until the tiles of clients that are gone have been worked on.

    Raises:
        TimeoutError: some are left after a minute.
    """
    until = time.monotonic() + _IDLE_WITHIN_S
    while _counters(port).get("in_flight"):
        if time.monotonic() > until:
            raise TimeoutError(f"The service still worked after {_IDLE_WITHIN_S:.0f} s.")
        time.sleep(0.1)


def _counters(port: int) -> dict[str, float]:
    """What the service counts: seconds by stage, tiles, batches, processor time."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode()
    finally:
        connection.close()
    names = {
        "process_cpu_seconds_total": "cpu_s",
        "osteo_batch_tiles_sum": "batch_tiles",
        "osteo_batch_tiles_count": "batches",
        "osteo_tiles_in_flight": "in_flight",
    }
    sums: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name in names:
                sums[names[sample.name]] = sample.value
            elif sample.name == "osteo_stage_seconds_sum":
                sums[sample.labels["stage"]] = sample.value
            elif sample.name == "osteo_stage_seconds_count":
                sums["n"] = sample.value
    return sums
