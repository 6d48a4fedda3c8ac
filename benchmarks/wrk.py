"""Load a server with `wrk` and `post_tiles.lua`, and parse the measurements."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

from benchmarks.bodies import BodyFiles

_SCRIPT: Final = Path(__file__).resolve().parent / "post_tiles.lua"
# wrk counts a request without a reply for this long as timed out.
_TIMEOUT_S: Final = 30

OnRefusal = Literal["wait", "hammer"]
"""A rejected client waits for `Retry-After`, or retries at once."""


@dataclass(frozen=True, slots=True)
class Load:
    """Measurements of one run of `wrk`.

    Attributes:
        clients: connections, each with one request at a time.
        tiles_per_s: tiles per second in 2xx replies.
        p50_ms: median latency of replies of any status.
        p99_ms: 99th percentile of latency, with wrk's correction for coordinated omission.
        statuses: number of replies by HTTP status.
        socket_errors: refused or broken connections.
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
        """Number of replies of any status."""
        return sum(self.statuses.values())

    @property
    def n_failed(self) -> int:
        """Number of requests without a 2xx reply."""
        n_rejected = sum(n for status, n in self.statuses.items() if not 200 <= status < 300)
        return n_rejected + self.socket_errors + self.timeouts

    def to_json(self) -> dict[str, Any]:
        """The entry in the results file."""
        return asdict(self) | {"n_failed": self.n_failed}


def find_wrk() -> str:
    """Find the program.

    Raises:
        FileNotFoundError: wrk is not installed.
    """
    program = shutil.which("wrk")
    if program is None:
        raise FileNotFoundError("wrk is not installed. On Debian: apt-get install wrk.")
    return program


def run_wrk(
    url: str, bodies: BodyFiles, clients: int, seconds: float, on_refusal: OnRefusal = "wait"
) -> Load:
    """Post the bodies repeatedly for about `seconds` from `clients` connections.

    Raises:
        RuntimeError: wrk failed or printed no result.
    """
    # One thread suffices for some hundred requests per second and leaves the cores to the server.
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
    """Parse the JSON line that `post_tiles.lua` prints after wrk's own report.

    Args:
        output: standard output of wrk.
        clients: number of connections.
        n_tiles: number of tiles per request.

    Raises:
        RuntimeError: the line is missing.
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
