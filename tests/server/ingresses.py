"""Real nginx and HAProxy in front of servers, with the configurations in `deploy/proxy`."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.authorities import Authority
from tests.conftest import REPOSITORY
from tests.servers import free_port, wait_until

PROGRAMS: Final = ("nginx", "haproxy")
_FILES: Final = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg", "systemd": "osteo@.service"}
_PACKAGES: Final = {"nginx": "nginx-light", "haproxy": "haproxy"}
_PATH: Final = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin"
_TEMPORARY_PATHS: Final = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True)
class Ingress:
    """A running ingress.

    Attributes:
        program: "nginx" or "haproxy".
        port: at which it answers HTTPS, on the loopback address.
        trust: of a client that trusts its certificate.
        watch_port: at which HAProxy tells the states of the replicas.
        log_file: what it wrote to its log.
    """

    program: str
    port: int
    trust: ssl.SSLContext
    watch_port: int
    log_file: Path

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def client(self) -> httpx2.Client:
        """A client that keeps its connections."""
        return httpx2.Client(base_url=self.url, verify=self.trust, timeout=60)

    def connect(self) -> ssl.SSLSocket:
        """Open a connection for bytes that no HTTP client would send."""
        connection = socket.create_connection(("127.0.0.1", self.port), 60)
        return self.trust.wrap_socket(connection, server_hostname="localhost")

    def states(self) -> list[str]:
        """What HAProxy says of each replica: "UP", "DOWN", or "UP 1/2" while it changes."""
        table = httpx2.get(f"http://127.0.0.1:{self.watch_port}/;csv").text
        rows = [line.split(",") for line in table.lstrip("# ").splitlines()]
        state = rows[0].index("status")
        return [row[state] for row in rows if row[0] == "osteo" and row[1] in {"a", "b"}]


def shipped_configuration(program: str) -> str:
    """The configuration of a program in `deploy/proxy`."""
    return (REPOSITORY / "deploy" / "proxy" / _FILES[program]).read_text()


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
        _skip(f"{program} is not installed, and only root on Debian could install {package}")
    for command in (["update"], ["install", "--yes", "--no-install-recommends", package]):
        run = subprocess.run(
            [str(apt), "-qq", *command],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        if run.returncode:
            _skip(f"{package} could not be installed: {run.stderr.strip()[-300:]}")


def _skip(reason: str) -> None:
    """Skip the test, or fail in CI."""
    if os.environ.get("REQUIRE_CLIENT_TOOLS"):
        pytest.fail(reason)
    pytest.skip(reason)


@contextmanager
def ingress(
    program: str, folder: Path, replicas: Sequence[tuple[str, int]], **changed: str
) -> Iterator[Ingress]:
    """Run an ingress with the shipped configuration.

    Args:
        program: "nginx" or "haproxy".
        folder: for its files.
        replicas: host and port of each; the second one is left out if there is only one.
        changed: directives of the configuration without underscores, and their other values.
    """
    authority = Authority(folder, "ingress-authority")
    port, watch_port = free_port(), free_port()
    text = shipped_configuration(program)
    fill = _nginx if program == "nginx" else _haproxy
    replacements = fill(folder, authority, port, watch_port, [f"{h}:{p}" for h, p in replicas])
    for shipped, used in (*replacements.items(), *changed.items()):
        assert shipped in text, f"{_FILES[program]} has no line {shipped}"
        text = text.replace(shipped, used)
    with running(program, folder, text, port):
        log = folder / ("access.log" if program == "nginx" else "haproxy.log")
        yield Ingress(program, port, authority.trust(), watch_port, log)


def _nginx(
    folder: Path, authority: Authority, port: int, _: int, replicas: Sequence[str]
) -> dict[str, str]:
    """What takes the place of what an operator edits, and of the files of the system."""
    issued = authority.issue("ingress")
    second = "server 127.0.0.1:8002 max_fails=0;"
    return {
        "127.0.0.1:8001": replicas[0],
        second: second.replace("127.0.0.1:8002", replicas[1]) if replicas[1:] else "",
        "/etc/nginx/osteo.crt": str(issued.certificate),
        "/etc/nginx/osteo.key": str(issued.key),
        "listen 443": f"listen 127.0.0.1:{port}",
        "/var/log/nginx/osteo.log": f"{folder}/access.log",
        **_nginx_process(folder),
    }


def _haproxy(
    folder: Path, authority: Authority, port: int, watch_port: int, replicas: Sequence[str]
) -> dict[str, str]:
    issued = authority.issue("ingress")
    both = folder / "certificate-and-key.pem"
    both.write_bytes(issued.certificate.read_bytes() + issued.key.read_bytes())
    return {
        "127.0.0.1:8001": replicas[0],
        "127.0.0.1:8002": replicas[-1],
        "    user haproxy\n    group haproxy\n": "",
        '    server b "${REPLICA_B}"\n': '    server b "${REPLICA_B}"\n' if replicas[1:] else "",
        "/etc/haproxy/osteo.pem": str(both),
        "bind :443": f"bind 127.0.0.1:{port}",
        "bind 127.0.0.1:8404": f"bind 127.0.0.1:{watch_port}",
    }


def _nginx_process(folder: Path) -> dict[str, str]:
    temporary = "\n".join(f"{name}_temp_path {folder}/{name};" for name in _TEMPORARY_PATHS)
    return {
        "user www-data;": "user root;" if os.geteuid() == 0 else "",
        "/var/log/nginx/error.log": "stderr",
        "/run/nginx.pid": f"{folder}/nginx.pid",
        "http {": f"daemon off;\nhttp {{\n{temporary}",
    }


def around(folder: Path, http: str) -> str:
    """A whole configuration of nginx, given what is inside `http`."""
    text = "user www-data;\nerror_log /var/log/nginx/error.log;\npid /run/nginx.pid;\n"
    text += f"events {{}}\nhttp {{\naccess_log off;\n{http}}}\n"
    for shipped, used in _nginx_process(folder).items():
        text = text.replace(shipped, used)
    return text


@contextmanager
def running(program: str, folder: Path, text: str, port: int) -> Iterator[None]:
    """Run a program with a configuration, in which it listens on a port of the loopback address."""
    path = find_program(program)
    file = folder / f"{program}.conf"
    file.write_text(text)
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
