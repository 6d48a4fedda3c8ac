"""Real nginx and HAProxy in front of a server, configured as `docs/ingress.md` says."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.conftest import REPOSITORY
from tests.servers import free_port, wait_until

PAGE: Final = (REPOSITORY / "docs" / "ingress.md").read_text()
_PACKAGES: Final = {"nginx": "nginx-light", "haproxy": "haproxy"}
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_TEMPORARY_PATHS: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def documented_configuration(program: str) -> str:
    """The configuration of a program on the page about ingresses."""
    block = re.search(rf"^```{program}\n(.*?)^```$", PAGE, re.M | re.S)
    assert block, f"docs/ingress.md has no configuration of {program}"
    return block[1]


def find_program(program: str) -> str:
    """Path of a program, installed if need be; the test is skipped if that is not possible."""
    if shutil.which(program, path=_PATH) is None:
        _install(program)
    found = shutil.which(program, path=_PATH)
    assert found, f"{_PACKAGES[program]} has no program {program}"
    return found


def _install(program: str) -> None:
    apt, package = shutil.which("apt-get"), _PACKAGES[program]
    if apt is None or os.geteuid() != 0:
        pytest.skip(f"{program} is not installed, and only root on Debian could install {package}")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        run = subprocess.run(
            [apt, "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if run.returncode:
            pytest.skip(f"{package} could not be installed: {run.stderr.strip()[-300:]}")


@contextmanager
def ingress(program: str, folder: Path, upstream: tuple[str, int]) -> Iterator[str]:
    """Run an ingress in front of a server; yields the URL of the ingress."""
    port = free_port()
    text = documented_configuration(program)
    for documented, used in (
        ("127.0.0.1:8000", f"{upstream[0]}:{upstream[1]}"),
        ("listen 8080;", f"listen 127.0.0.1:{port};"),
        ("bind :8080", f"bind 127.0.0.1:{port}"),
    ):
        text = text.replace(documented, used)
    with running(program, folder, text, port):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(program: str, folder: Path, text: str, port: int) -> Iterator[None]:
    """Run a program with a configuration, in which it listens on a port of the loopback address."""
    path = find_program(program)
    file = folder / f"{program}.conf"
    file.write_text(_nginx_main(folder, text) if program == "nginx" else text)
    command = [path, "-p", str(folder), "-c", str(file)]
    if program == "haproxy":
        command = [path, "-db", "-f", str(file)]
    with (folder / f"{program}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_until(lambda: _accepts(port) or process.poll() is not None)
        assert process.poll() is None, (folder / f"{program}.log").read_text()
        yield
    finally:
        process.terminate()
        process.wait(timeout=30)


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _nginx_main(folder: Path, http: str) -> str:
    """The contexts around the documented part, with files in a folder of the test."""
    temporary = "\n".join(f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY_PATHS)
    user = "user root;\n" if os.geteuid() == 0 else ""
    return (
        f"{user}daemon off;\nerror_log stderr;\npid {folder}/nginx.pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{temporary}\n{http}}}\n"
    )
