"""What a process and its children cost, read from Linux's /proc."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

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
        try:
            lines = (_PROC / str(member) / "status").read_text().splitlines()
        except OSError:
            continue
        total += sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return total


class PeakWatch:
    """Measures a family's peak in the block, also of members that end before its end.

    Attributes:
        peak_bytes: beyond what the family took at first.
    """

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self.peak_bytes = 0

    def __enter__(self) -> Self:
        reset_peak(self._pid)
        self._idle_bytes = peak_bytes(self._pid)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._look()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self._look()

    def _look(self) -> None:
        self.peak_bytes = max(self.peak_bytes, peak_bytes(self._pid) - self._idle_bytes)
