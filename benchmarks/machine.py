"""The conditions of a measurement: the machine, its load and all versions."""

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
    """Describe the host and the versions of all servers and tools."""
    return {**describe_host(), "versions": _versions()}


def describe_host() -> dict[str, Any]:
    """Describe the machine, its load and the time."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": usable_cores(),
        "cpu": _cpu_model(),
        "memory_gib": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1024**3, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        # A load above zero at start means that other work lowered the numbers.
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
    # `wrk -v` prints the version and the usage, and exits with 1.
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
