"""helm, kubectl and the schema of the Prometheus operator, from PyPI and npm, pinned by hash."""

from __future__ import annotations

import fcntl
import functools
import json
import os
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import pytest

from tests.clients.tools import Tools, install, run

_LOCKS: Final = Path(__file__).parent / "tools"
_PROGRAMS: Final = ("helm", "kubectl")
_VALIDATE_SERVICE_MONITOR: Final = """
import { ServiceMonitor } from "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1";
new ServiceMonitor(JSON.parse(process.argv[1])).validate();
"""


def kubernetes_tool(program: str, *arguments: object) -> str:
    """Run helm or kubectl, which reach no cluster, and return what was written to standard output.

    The test is skipped if they cannot be installed, but fails if they must be there (CI).

    Raises:
        AssertionError: the program failed; the message is what it wrote.
    """
    return run([_unpacked() / program, *arguments], Path.cwd())


def validate_service_monitor(manifest: dict[str, Any]) -> None:
    """Validate against the schema of the Prometheus operator; skips as `kubernetes_tool` does.

    Raises:
        AssertionError: it is not valid; the message says where.
    """
    folder = _installed().folder
    code = ["--input-type=module", "--eval", _VALIDATE_SERVICE_MONITOR]
    run([_installed().bin / "node", *code, json.dumps(manifest)], folder)


@functools.cache
def _installed() -> Tools:
    try:
        return install(_LOCKS, "kubernetes")
    except AssertionError as error:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            raise
        pytest.skip(f"the tools cannot be installed from PyPI and npm: {str(error)[-300:]}")


@functools.cache
def _unpacked() -> Path:
    """Folder of both programs, which are in a zip file in a tar file in the package."""
    folder = _installed().folder / "programs"
    with (_installed().folder / "programs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be unpacking
        if not folder.exists():
            (package,) = _installed().folder.rglob("lambda-layer-kubectl-*.jsii.tgz")
            with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
                with tarfile.open(package) as tar:
                    tar.extract("package/lib/layer.zip", temporary, filter="data")
                part = Path(temporary) / "programs"
                part.mkdir()
                with zipfile.ZipFile(Path(temporary) / "package" / "lib" / "layer.zip") as layer:
                    for program in _PROGRAMS:
                        (part / program).write_bytes(layer.read(f"{program}/{program}"))
                        (part / program).chmod(0o755)
                part.rename(folder)
    return folder
