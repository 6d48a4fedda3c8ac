"""`python -m app.server.health`, which the container runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.authorities import Authority
from tests.conftest import REPOSITORY
from tests.servers import RunningServer, free_port, running_server


def ask(port: int, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app.server.health"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={"OSTEO_PORT": str(port), **environ},
        cwd=REPOSITORY,
    )


def wait_and_ask(server: RunningServer, **environ: str) -> subprocess.CompletedProcess[str]:
    server.wait_until_ready()
    return ask(server.address[1], **environ)


def test_ready_server_is_healthy(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        run = wait_and_ask(server)
        assert (run.returncode, run.stderr) == (0, "")


def test_ready_server_is_healthy_over_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path, "authority")
    issued = authority.issue("server")
    settings = {
        "OSTEO_TLS_CERTIFICATE": str(issued.certificate),
        "OSTEO_TLS_KEY": str(issued.key),
    }
    with running_server(tmp_path, authority.trust(), **settings) as server:
        run = wait_and_ask(server, **settings)
        assert (run.returncode, run.stderr) == (0, "")


def test_absent_server_is_not_healthy() -> None:
    port = free_port()
    run = ask(port)
    assert run.returncode == 1
    assert f"port {port}: " in run.stderr
    assert "Traceback" not in run.stderr


def test_server_without_a_model_is_not_healthy(tmp_path: Path) -> None:
    with running_server(tmp_path, OSTEO_MODELS_DIR=str(tmp_path)) as server:
        while (run := ask(server.address[1])).stderr.startswith("port"):
            assert server.process.poll() is None
        assert run.returncode == 1
        assert run.stderr == "/readyz answers 503\n"
