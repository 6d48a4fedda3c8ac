"""Prometheus, Alertmanager and their tools, installed if need be."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest

from benchmarks.dashboard.prometheus import PROGRAMS


def find_program(name: str) -> str:
    """Path of a program; the test is skipped if it cannot be installed, but never in CI."""
    package = PROGRAMS[name]
    if shutil.which(name) is None:
        error = _install(package)
        if error and os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail(f"{package} could not be installed: {error}")
        if error:
            pytest.skip(f"there is no {name}: install the Debian package {package} ({error})")
    found = shutil.which(name)
    assert found, f"{package} has no program {name}"
    return found


def _install(package: str) -> str:
    """Install a Debian package without starting it; what is wrong if that fails."""
    apt = shutil.which("apt-get")
    if apt is None or os.geteuid() != 0:
        return "only root on Debian can do so"
    for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        run = subprocess.run(
            [apt, "-qq", "-o", "DPkg::Lock::Timeout=300", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if run.returncode:
            return run.stderr.strip()[-300:]
    return ""


def run_program(name: str, *arguments: str, cwd: str | None = None) -> str:
    """Run a program to its end and return what it printed; fails if it fails."""
    run = subprocess.run(
        [find_program(name), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
        cwd=cwd,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout
