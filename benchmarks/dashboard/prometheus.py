"""Run a real Prometheus and Alertmanager with the configurations in `deploy/monitoring`."""

from __future__ import annotations

import json
import math
import secrets
import shutil
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.dashboard.panels import MONITORING_DIR

PROGRAMS: Final = {
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "prometheus-alertmanager": "prometheus-alertmanager",
    "amtool": "prometheus-alertmanager",
}
"""Debian package of each program."""
_TARGET: Final = "osteo:8000"
_ALERTMANAGER: Final = "alertmanager:9093"
_PORTS: Final = range(20_000, 32_000)
_READY_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Series:
    """Values of one set of labels: times in seconds since 1970, and the values at these times."""

    labels: dict[str, str]
    times_s: tuple[float, ...]
    values: tuple[float, ...]


class Prometheus:
    """A client of a running Prometheus."""

    def __init__(self, url: str) -> None:
        self.url = url

    def now(self, expression: str) -> list[Series]:
        """The values of an expression now, without those that are not numbers."""
        return self._ask("query", query=expression)

    def between(self, expression: str, begin_s: float, end_s: float, step_s: float) -> list[Series]:
        """The values of an expression between two times, without those that are not numbers."""
        span = {"start": f"{begin_s}", "end": f"{end_s}", "step": f"{step_s}"}
        return self._ask("query_range", query=expression, **span)

    def _ask(self, route: str, **parameters: str) -> list[Series]:
        url = f"{self.url}/api/v1/{route}?{urllib.parse.urlencode(parameters)}"
        series = []
        for found in fetch_json(url)["data"]["result"]:
            samples = found.get("values") or [found["value"]]
            numbers = [(t, float(v)) for t, v in samples if not math.isnan(float(v))]
            if numbers:
                times_s, values = zip(*numbers, strict=True)
                series.append(Series(found["metric"], times_s, values))
        return series


def fetch_json(url: str) -> Any:
    """GET a JSON document of a local server. Raises OSError if it does not answer 200."""
    with urllib.request.urlopen(url, timeout=30) as answer:  # noqa: S310 # http, from our callers
        return json.load(answer)


@contextmanager
def running_prometheus(
    folder: Path,
    target: str,
    *,
    interval_s: int,
    rules: str = "",
    alertmanager: str = "",
    job: str = "",
) -> Iterator[Prometheus]:
    """Run Prometheus with the configuration of Compose.

    Args:
        folder: an existing folder for its configuration, data and log.
        target: host and port of the service, instead of those in Compose.
        interval_s: seconds between two scrapes, and between two evaluations of the rules.
        rules: the rules, if others than those in `alerts.yml`.
        alertmanager: as `target`, of an Alertmanager.
        job: lines to add to the job, such as those that docs/monitoring.md names for TLS.

    Raises:
        RuntimeError: it cannot be found, or was not ready in time.
    """
    text = (MONITORING_DIR / "prometheus.yml").read_text()
    for documented, used in (
        (_TARGET, target),
        (_ALERTMANAGER, alertmanager or _ALERTMANAGER),
        ("interval: 15s", f"interval: {interval_s}s"),
    ):
        if documented not in text:
            raise RuntimeError(f"prometheus.yml does not contain {documented}")
        text = text.replace(documented, used)
    (folder / "prometheus.yml").write_text(text + job)
    (folder / "alerts.yml").write_text(rules or (MONITORING_DIR / "alerts.yml").read_text())
    with _running(
        "prometheus",
        folder,
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/prometheus",
        "--scrape.discovery-reload-interval=100ms",  # else the first scrape can take 10 s
    ) as url:
        yield Prometheus(url)


@contextmanager
def running_alertmanager(folder: Path, configuration: str) -> Iterator[str]:
    """Run Alertmanager; yields its URL. Raises RuntimeError like `running_prometheus`."""
    (folder / "alertmanager.yml").write_text(configuration)
    with _running(
        "prometheus-alertmanager",
        folder,
        f"--config.file={folder}/alertmanager.yml",
        f"--storage.path={folder}/alertmanager",
        "--cluster.listen-address=",
    ) as url:
        yield url


@contextmanager
def _running(program: str, folder: Path, *options: str) -> Iterator[str]:
    path = shutil.which(program)
    if path is None:
        raise RuntimeError(f"there is no {program}: install {PROGRAMS[program]} (Debian)")
    address = f"127.0.0.1:{_free_port()}"
    log_file = folder / f"{program}.log"
    with log_file.open("wb") as log:
        command = [path, *options, f"--web.listen-address={address}"]
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        _wait_until_ready(process, f"http://{address}/-/ready", log_file)
        yield f"http://{address}"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    """One that outgoing connections do not get, so that none takes it before the program does."""
    while True:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.socket() as listener:
            listener.bind(("127.0.0.1", port))
            return port


def _wait_until_ready(process: subprocess.Popen[bytes], url: str, log_file: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while process.poll() is None and time.monotonic() < deadline:
        with suppress(OSError), urllib.request.urlopen(url, timeout=10):  # noqa: S310 # http
            return
        time.sleep(0.05)
    raise RuntimeError(f"it was not ready: {log_file.read_text()[-800:]}")
