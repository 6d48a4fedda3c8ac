"""Facts without which a number says nothing: the machine, its load, and every version."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path
from typing import Any, Final

from app import __version__
from app.runtime.cores import usable_cores
from benchmarks.environments import locked_version
from benchmarks.servers import PEERS
from benchmarks.wrk import find_wrk

_PACKAGES: Final = ("ai-edge-litert", "fastapi", "numpy", "pillow", "tensorflow", "uvicorn")


def describe_machine() -> dict[str, Any]:
    """What the results file and the page say about where a run against servers was made."""
    return {**describe_host(), "versions": _versions()}


def describe_host() -> dict[str, Any]:
    """The machine, its load and the time; needs no load generator."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": usable_cores(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        # Above zero at the start, something else was at work and the numbers are lower for it.
        "load_at_start": round(os.getloadavg()[0], 2),
    }


def _versions() -> dict[str, str]:
    versions = {"osteo-tiles": __version__, "wrk": _wrk_version()}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    for peer in PEERS:
        if peer.package is not None:
            versions[f"{peer.name}: {peer.package}"] = locked_version(peer.name, peer.package)
    return versions


def _wrk_version() -> str:
    # wrk prints its version with the usage and ends with 1.
    done = subprocess.run([find_wrk(), "-v"], capture_output=True, text=True, check=False)
    words = (done.stdout or done.stderr).split()
    return words[1] if len(words) > 1 else "unknown"


def _cpu_model() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
