"""What a process and its children cost, read from Linux's /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")
_RESET_PEAK: Final = "5"


def family(pid: int) -> Iterator[int]:
    """A process and all that descend from it."""
    yield pid
    for children in _PROC.glob(f"{pid}/task/*/children"):
        try:
            for child in children.read_text().split():
                yield from family(int(child))
        except OSError:  # the thread has just ended
            continue


def cpu_s(pid: int) -> float:
    """Processor time of a family in seconds, children that have ended included."""
    total = 0.0
    for member in family(pid):
        try:
            fields = (_PROC / str(member) / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        n_fields = 4 if member == pid else 2  # the parent's sums hold those that it has waited for
        total += sum(map(int, fields[11 : 11 + n_fields])) / _TICKS_PER_S
    return total


def reset_peak(pid: int) -> None:
    """Begin to measure peak memory anew."""
    for member in family(pid):
        (_PROC / str(member) / "clear_refs").write_text(_RESET_PEAK)


def peak_bytes(pid: int) -> int:
    """The sum of the family's peaks since `reset_peak`: an upper bound of its peak."""
    total = 0
    for member in family(pid):
        for line in (_PROC / str(member) / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += 1024 * int(line.split()[1])
    return total
