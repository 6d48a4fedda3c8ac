"""Drive a server with `wrk` through `post_tiles.lua` and read what it measured."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.bodies import BodyFiles

_SCRIPT: Final = Path(__file__).resolve().parent / "post_tiles.lua"
# A client that waits longer than this has gone away; wrk counts it as timed out.
_TIMEOUT_S: Final = 30

OnRefusal = Literal["wait", "hammer"]
"""A refused client obeys `Retry-After`, or asks again at once."""


@dataclass(frozen=True, slots=True)
class Load:
    """What one run of `wrk` saw.

    Attributes:
        clients: connections, each with one request at a time.
        tiles_per_s: tiles in 2xx replies a second.
        p50_ms: median latency of a request, whatever its status.
        p99_ms: the 99th percentile, with wrk's correction for coordinated omission.
        statuses: replies by HTTP status.
        socket_errors: connections refused or broken.
        timeouts: requests without a reply within 30 s.
    """

    clients: int
    tiles_per_s: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    socket_errors: int
    timeouts: int

    @property
    def n_replies(self) -> int:
        """Replies of any status."""
        return sum(self.statuses.values())

    @property
    def n_failed(self) -> int:
        """Requests that got no 2xx."""
        n_refused = sum(n for status, n in self.statuses.items() if not 200 <= status < 300)
        return n_refused + self.socket_errors + self.timeouts

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return asdict(self) | {"n_failed": self.n_failed}


def find_wrk() -> str:
    """The program's path.

    Raises:
        FileNotFoundError: it is not installed; says how to install it.
    """
    program = shutil.which("wrk")
    if program is None:
        raise FileNotFoundError("wrk is not installed (Debian: apt-get install wrk).")
    return program


def run_wrk(
    url: str, bodies: BodyFiles, clients: int, seconds: float, on_refusal: OnRefusal = "wait"
) -> Load:
    """Post bodies in turn for about `seconds` from `clients` connections.

    Raises:
        RuntimeError: wrk failed or printed no result.
    """
    # One thread: it sends some hundred requests a second and leaves the cores to the server.
    command = [
        *(find_wrk(), "--threads", "1", "--connections", str(clients)),
        *("--duration", f"{max(1, round(seconds))}s", "--timeout", f"{_TIMEOUT_S}s"),
        *("--script", str(_SCRIPT), url, "--", bodies.content_type, on_refusal),
        *map(str, bodies.files),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=seconds + 2 * _TIMEOUT_S, check=False
    )
    if done.returncode:
        raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return parse_load(done.stdout, clients, bodies.n_tiles)


def parse_load(output: str, clients: int, n_tiles: int = 1) -> Load:
    """Read the JSON line that `post_tiles.lua` prints after wrk's own report.

    Args:
        output: standard output of wrk.
        clients: its connections.
        n_tiles: tiles in one request.

    Raises:
        RuntimeError: there is no such line.
    """
    lines = [line for line in output.splitlines() if line.startswith("{")]
    if not lines:
        raise RuntimeError(f"wrk printed no result: {output.strip()[-200:]}")
    seen = json.loads(lines[-1])
    statuses = {int(status): int(n) for status, n in sorted(seen["statuses"].items())}
    n_ok = sum(n for status, n in statuses.items() if 200 <= status < 300)
    return Load(
        clients=clients,
        tiles_per_s=n_ok * n_tiles / (seen["duration_us"] / 1e6),
        p50_ms=seen["p50_us"] / 1e3,
        p99_ms=seen["p99_us"] / 1e3,
        statuses=statuses,
        socket_errors=seen["socket_errors"],
        timeouts=seen["timeouts"],
    )
