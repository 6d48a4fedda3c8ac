"""Services with access control and an audit, as processes, and the commands of their operator."""

from __future__ import annotations

import json
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.forking import RUN_APP, ForkedProcess
from tests.servers import RunningServer, running_server

COMMAND_WITHIN_S = 300.0


def state_of(folder: Path, **environ: str) -> dict[str, str]:
    """The environment of a service, and of its commands, that keep their state in a folder."""
    # Nothing routes requests to these services, so that they need not wait before they stop.
    return {"OSTEO_STATE_DIR": str(folder / "state"), "OSTEO_DRAIN_DELAY_S": "0", **environ}


@contextmanager
def ready_service(
    folder: Path, verify: ssl.SSLContext | None = None, /, *, before: str = "", **environ: str
) -> Iterator[RunningServer]:
    """A service that is ready; `before` is as for `running_server`."""
    environ = state_of(folder, **environ)
    with running_server(folder, verify, before=before, **environ) as server:
        server.wait_until_ready()
        yield server


def run_osteo(folder: Path, *arguments: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the operator to its end, forked, where there is no TensorFlow."""
    with ForkedProcess(
        list(map(str, arguments)),
        code=f"import sys; sys.modules['tensorflow'] = None\n{RUN_APP}",
        cwd=REPOSITORY,
        env={"OSTEO_MODELS_DIR": str(RELEASED_MODELS), "PATH": "", "COLUMNS": "250"}
        | state_of(folder, **environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            output, errors = process.communicate(timeout=COMMAND_WITHIN_S)
        finally:
            process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def audited(folder: Path, **environ: str) -> list[dict[str, Any]]:
    """All records of an audit, in the order of `osteo audit export`."""
    done = run_osteo(folder, "audit", "export", **environ)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def require_whole_audit(folder: Path, **environ: str) -> None:
    """Check that `osteo audit verify` finds nothing."""
    done = run_osteo(folder, "audit", "verify", **environ)
    assert done.returncode == 0, done.stdout + done.stderr
