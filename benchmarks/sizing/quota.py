"""Runs a program on a limited number of cores: by a CPU quota, or by affinity if there is none."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from app.runtime.cores import cgroup_folders

_PERIOD_US: Final = 100_000
"""The period of Kubernetes and of container engines."""
_WEIGHT: Final = 100
"""The group counts a hundred times as much as another process, so that other work takes little."""
_REMOVE_WITHIN_S: Final = 5.0
_ENTER: Final = 'echo $$ > "$0" && exec "$@"'


@dataclass(frozen=True, slots=True)
class CoreLimit:
    """A way to start programs that may use only some cores.

    Attributes:
        n_cores: how many.
        kind: `quota` (cgroup v1 or v2) or `affinity`.
        prefix: words before the words of a command.
    """

    n_cores: int
    kind: str
    prefix: tuple[str, ...]

    def command(self, words: Sequence[str]) -> list[str]:
        """The command line that runs a command within the limit."""
        return [*self.prefix, *words]


@contextmanager
def limited_cores(n_cores: int, folders: Iterable[Path] | None = None) -> Iterator[CoreLimit]:
    """Make a cgroup with a CPU quota, and remove it on exit; without permission use affinity.

    Args:
        n_cores: at least 1.
        folders: cgroups in which to make it, in order of preference; by default this process's
            own and the ones above it.
    """
    for folder in cgroup_folders() if folders is None else folders:
        group = folder / f"osteo-sizing-{os.getpid()}-{n_cores}"
        with suppress(OSError):  # no permission, or a group that has processes (version 2)
            entry = _make(group, n_cores)
            break
    else:
        cores = ",".join(str(core) for core in sorted(os.sched_getaffinity(0))[:n_cores])
        yield CoreLimit(n_cores, "affinity", ("taskset", "-c", cores))
        return
    try:
        yield CoreLimit(n_cores, "quota", ("/bin/sh", "-c", _ENTER, str(entry)))
    finally:
        _remove(group)


def _make(group: Path, n_cores: int) -> Path:
    """Make a group with a quota and a weight; returns the file that takes its processes."""
    is_v2 = (group.parent / "cgroup.controllers").exists()
    if is_v2:
        (group.parent / "cgroup.subtree_control").write_text("+cpu")
    group.mkdir()
    quota_us = n_cores * _PERIOD_US
    if is_v2:
        values = {"cpu.max": f"{quota_us} {_PERIOD_US}", "cpu.weight": f"{_WEIGHT * 100}"}
    else:
        values = {
            "cpu.cfs_period_us": f"{_PERIOD_US}",
            "cpu.cfs_quota_us": f"{quota_us}",
            "cpu.shares": f"{_WEIGHT * 1024}",
        }
    try:
        for name, value in values.items():
            (group / name).write_text(value)
    except OSError:
        _remove(group)
        raise
    return group / "cgroup.procs"


def _remove(group: Path) -> None:
    """Remove a group; a process that has just ended may stay in it for a moment."""
    deadline = time.monotonic() + _REMOVE_WITHIN_S
    while group.exists() and time.monotonic() < deadline:
        with suppress(OSError):
            group.rmdir()
            return
        time.sleep(0.05)
