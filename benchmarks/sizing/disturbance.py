"""Other work on the machine during a measurement, from the kernel's counters."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

MAX_OTHER_CORES: Final = 0.3
"""With more other work than this, a measurement says more about that work than the service."""
_SAMPLE_S: Final = 2.0
_STAT: Final = Path("/proc/stat")


@dataclass(frozen=True, slots=True)
class Counters:
    """Seconds of all cores since the machine started, and when they were read.

    Attributes:
        busy_s: in which any process ran.
        steal_s: in which the hypervisor ran something else.
        at_s: monotonic time.
    """

    busy_s: float
    steal_s: float
    at_s: float


@dataclass(frozen=True, slots=True)
class Disturbance:
    """Cores that were not the measurement's own, on average.

    Attributes:
        other_cores: used by other processes.
        stolen_cores: taken by the hypervisor.
    """

    other_cores: float
    stolen_cores: float


def read_counters(stat: Path = _STAT) -> Counters:
    """Read the machine's counters (Linux)."""
    words = stat.read_text().split("\n", 1)[0].split()
    user, nice, system, _, _, irq, soft_irq, steal = (
        int(word) / os.sysconf("SC_CLK_TCK") for word in words[1:9]
    )
    return Counters(user + nice + system + irq + soft_irq, steal, time.monotonic())


def disturbance(before: Counters, after: Counters, own_s: float) -> Disturbance:
    """Subtract the processor time of the measurement itself from what the machine did.

    Args:
        before: counters at the start.
        after: counters at the end.
        own_s: processor time of the service and of the load generator in between.
    """
    seconds = after.at_s - before.at_s
    other_s = max(0.0, after.busy_s - before.busy_s - own_s)
    return Disturbance(other_s / seconds, (after.steal_s - before.steal_s) / seconds)


def require_quiet(
    max_other_cores: float = MAX_OTHER_CORES, sample_s: float = _SAMPLE_S
) -> Disturbance:
    """Watch the machine for some seconds.

    Raises:
        RuntimeError: it is busy.
    """
    before, own_s = read_counters(), time.process_time()
    time.sleep(sample_s)
    found = disturbance(before, read_counters(), time.process_time() - own_s)
    if found.other_cores + found.stolen_cores > max_other_cores:
        raise RuntimeError(
            f"other work uses {found.other_cores:.2f} cores of this machine, and the hypervisor "
            f"{found.stolen_cores:.2f}; more than {max_other_cores:g} falsifies the results. Wait "
            "until the machine is quiet, or pass --busy: the report then states the other work."
        )
    return found
