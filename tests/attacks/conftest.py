"""A service under attack, and the table that `make attack` prints at the end."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import pytest

from tests.servers import RunningServer, freshly_started_server

MAX_DECODE_S: Final = 2.0
MAX_DECODE_BYTES: Final = 512 * 1024**2


@dataclass(frozen=True, slots=True)
class Cost:
    """What one file cost the service."""

    name: str
    n_bytes: int
    status: int
    problem: str
    cpu_s: float
    peak_bytes: int


_costs: Final[list[Cost]] = []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """One for all attacks: it has to stay up."""
    with freshly_started_server(tmp_path_factory.mktemp("attacked")) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture
def costs() -> list[Cost]:
    return _costs


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if not _costs:
        return
    terminalreporter.section(f"limits: {MAX_DECODE_S:g} s, {MAX_DECODE_BYTES / 2**20:.0f} MiB")
    row = "{:36} {:>9} {:>7} {:>8} {:>6} {}".format
    terminalreporter.write_line(row("file", "bytes", "CPU s", "peak MiB", "status", "problem"))
    for cost in _costs:
        peak = f"{cost.peak_bytes / 2**20:.0f}"
        terminalreporter.write_line(
            row(cost.name, cost.n_bytes, f"{cost.cpu_s:.2f}", peak, cost.status, cost.problem)
        )
