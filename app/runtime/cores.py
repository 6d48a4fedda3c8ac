"""The cores that this process may use, which are often fewer in a container, and priorities."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import Final

_PROC: Final = Path("/proc/self")
_WORKER_NICENESS: Final = 10


def usable_cores() -> int:
    """Count the cores in the affinity mask, limited by the cgroups' CPU quotas; at least 1."""
    affinity = getattr(os, "sched_getaffinity", None)  # Linux only
    n_cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    quotas = [quota for folder in cgroup_folders() if (quota := _quota_cores(folder))]
    return max(1, min(n_cores, *map(int, quotas))) if quotas else n_cores


def lower_thread_priority() -> None:
    """Lower the priority of the calling thread below that of the event loop.

    The loop needs milliseconds to answer a probe or to reject a tile, but would first have to wait
    for a core. Linux only: elsewhere the priority would apply to the whole process.
    """
    if sys.platform == "linux":
        with suppress(OSError):  # sandboxes may forbid it
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _WORKER_NICENESS)


def cgroup_folders() -> Iterator[Path]:
    """The process's CPU cgroup and its parents, as far as they are mounted (versions 1 and 2).

    In a cgroup namespace of its own the process is in the root of the mount. Without one, as in
    systemd services and containers with the host's namespace, it is in a nested group, and each
    group above it may have a smaller quota.
    """
    try:
        groups = (_PROC / "cgroup").read_text().splitlines()
        mounts = (_PROC / "mountinfo").read_text().splitlines()
    except OSError:  # not Linux
        return
    # `ID:CONTROLLERS:PATH`; version 2 has no controllers there.
    path_by_controller = {
        controller: path
        for _, controllers, path in (line.split(":", 2) for line in groups)
        for controller in controllers.split(",")
    }
    for mount in mounts:
        # `ID PARENT DEVICE ROOT FOLDER OPTIONS ... - TYPE SOURCE SUPER_OPTIONS`
        fields, _, file_system = mount.partition(" - ")
        kind, *_, super_options = file_system.split()
        controller = {"cgroup2": "", "cgroup": "cpu"}.get(kind)
        if controller is None or (controller and controller not in super_options.split(",")):
            continue
        root, folder = fields.split()[3:5]
        path = PurePosixPath(path_by_controller.get(controller, root))
        # A path outside the mount ("/.." or another container's root) leaves the mount itself.
        relative = path.relative_to(root) if path.is_relative_to(root) else PurePosixPath()
        if ".." in relative.parts:
            relative = PurePosixPath()
        yield Path(folder, relative)
        yield from (Path(folder, parent) for parent in relative.parents)


def _quota_cores(cgroup: Path) -> float | None:
    """Read the CPU quota of one group, in cores; None if it has none."""
    try:
        if (cgroup / "cpu.max").is_file():
            quota, period = (cgroup / "cpu.max").read_text().split()
        else:
            quota = (cgroup / "cpu.cfs_quota_us").read_text()
            period = (cgroup / "cpu.cfs_period_us").read_text()
        return int(quota) / int(period) if int(quota) > 0 else None
    except (OSError, ValueError):  # no limits, or "max"
        return None
