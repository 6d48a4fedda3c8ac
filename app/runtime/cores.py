"""The cores that this process may use, which are often fewer in a container, and priorities."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Final

_CGROUP_V2: Final = Path("/sys/fs/cgroup/cpu.max")
_CGROUP_V1_QUOTA: Final = Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")
_CGROUP_V1_PERIOD: Final = Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")
_WORKER_NICENESS: Final = 10


def usable_cores() -> int:
    """Count the cores in the affinity mask, limited by the cgroup's CPU quota; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    n_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quota = _cgroup_quota_cores()
    return max(1, min(n_cores, int(quota))) if quota else n_cores


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread below that of the event loop.

    The loop needs milliseconds to answer a probe or to reject a tile, but would first have to wait
    for a core. Linux only: elsewhere the priority would apply to the whole process.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # sandboxes may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _WORKER_NICENESS)


def _cgroup_quota_cores() -> float | None:
    """Read the CPU quota, in cores; None if there is no quota."""
    try:
        if _CGROUP_V2.is_file():
            quota, period = _CGROUP_V2.read_text().split()
        else:
            quota, period = _CGROUP_V1_QUOTA.read_text(), _CGROUP_V1_PERIOD.read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no cgroup, or "max": no quota
        return None
