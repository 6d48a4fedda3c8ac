"""Start programs without the seconds that their imports take: `tests/fork_server.py` forks them."""

from __future__ import annotations

import atexit
import fcntl
import hashlib
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

REPOSITORY: Final = Path(__file__).resolve().parent.parent
APP: Final = (
    *("app.main", "app.serving.loading", "app.server.run", "ai_edge_litert.interpreter"),
    *("app.slides.run", "app.jobs.opening", "app.jobs.worker", "app.audit.findings"),
    *("typer", "rich.progress", "rich.status", "rich._emoji_codes", "typer._click.decorators"),
    *("PIL.JpegImagePlugin", "PIL.PngImagePlugin", "PIL.TiffImagePlugin", "PIL.BmpImagePlugin"),
    *("PIL.GifImagePlugin", "PIL.PpmImagePlugin", "PIL.WebPImagePlugin", "app.core.markup"),
    *("encodings.idna", "encodings.cp437", "statistics"),
    *("app.audit.store", "psycopg", "jwt", "limits", "redis.asyncio", "pydantic.v1"),
    *("uvicorn.loops.uvloop", "uvicorn.lifespan.on", "fastapi.telemetry._runtime"),
    "tests.warm_app",
)
"""What `osteo` imports; `app.cli` itself looks for a terminal when it is imported."""
TRAINING: Final = (
    *("tensorflow", "keras", "sklearn.model_selection", "matplotlib.pyplot"),
    *("typer", "rich.progress", "app.bundle", "app.runtime.litert"),
)
"""What `osteo-train` imports. `training` itself is left for a test to change beforehand."""
RUN_APP: Final = "import runpy; runpy.run_module('app', run_name='__main__', alter_sys=True)"
"""What `python -m app` does."""
RUN_TRAINING: Final = "from training.cli import app; app(prog_name='osteo-train')"
_STARTED_WITHIN_S: Final = 300.0
_FOLDER: Final = "FORK_SERVERS"
"""Variable that names the folder of the servers' sockets."""
_LIFE: Final = "life"


class _Run:
    """The fork servers of one run of pytest, which all its workers share.

    They end when `close` closes the pipe that they have as standard input, or with this process.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fork-"))
        os.mkfifo(self.folder / _LIFE)
        # Opened for reading too, because opening for writing would wait for a reader.
        self._pipe = os.open(self.folder / _LIFE, os.O_RDWR)
        os.environ[_FOLDER] = str(self.folder)

    def close(self) -> None:
        del os.environ[_FOLDER]
        os.close(self._pipe)
        while _started:
            _started.pop().wait()
        shutil.rmtree(self.folder)


_runs: list[_Run] = []
_started: list[subprocess.Popen[bytes]] = []
"""The servers that this process has started; other workers use them too."""


def begin_run() -> None:
    """Make a folder for fork servers, and name it in the environment of the workers to come."""
    _runs.append(_Run())


def end_run() -> None:
    """End the fork servers of the run that this process has begun."""
    while _runs:
        _runs.pop().close()
    # A worker does not wait for its servers, which others may use, and its Popen would complain.
    for server in _started:
        server.returncode = 0


def server_of(modules: tuple[str, ...]) -> str:
    """The path of the socket of the server that has imported these modules."""
    if _FOLDER not in os.environ:
        begin_run()
        atexit.register(end_run)
    folder = Path(os.environ[_FOLDER])
    path = folder / hashlib.sha256(repr(modules).encode()).hexdigest()[:16]
    if not path.exists():
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be starting it
            if not path.exists():
                _start(path, modules)
    return str(path)


def _start(path: Path, modules: tuple[str, ...]) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OSTEO_")}
    with (path.parent / _LIFE).open("rb") as life:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.fork_server", str(path), *modules],
            cwd=REPOSITORY,
            env={**kept, "PYTHONPATH": str(REPOSITORY)},
            stdin=life,
        )
    _started.append(process)
    deadline = time.monotonic() + _STARTED_WITHIN_S
    while not path.exists():
        assert process.poll() is None, "the fork server ended"
        assert time.monotonic() < deadline, "the fork server did not start"
        time.sleep(0.005)


class ForkRequest:
    """A program that a server forks; the connection tells its process id and how it ended."""

    def __init__(self, path: str, streams: list[int], document: Mapping[str, Any]) -> None:
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(path)
        content = json.dumps(document).encode("utf-8", "surrogateescape") + b"\n"
        sent = socket.send_fds(self.connection, [content], streams)
        self.connection.sendall(content[sent:])
        self._lines = self.connection.makefile("rb")
        self.pid = int(self._lines.readline())

    def exit_code(self, timeout_s: float | None = None) -> int:
        """Wait for the end.

        Raises:
            TimeoutError: the program still runs.
        """
        if timeout_s is not None and not select.select([self.connection], [], [], timeout_s)[0]:
            raise TimeoutError
        code = int(self._lines.readline())
        self._lines.close()
        self.connection.close()
        return code


class ForkedProcess(subprocess.Popen[Any]):
    """A forked program with the interface of any other process."""

    def __init__(
        self,
        arguments: list[str],
        *,
        modules: tuple[str, ...] = APP,
        code: str = RUN_APP,
        program: str = "osteo",
        max_file_bytes: int | None = None,
        is_ordinary_user: bool = False,
        **options: Any,
    ) -> None:
        """Start it.

        Args:
            arguments: of the program, without the interpreter.
            modules: imported by the server beforehand.
            code: Python, run as the main module.
            program: its name, the first of `sys.argv`.
            max_file_bytes: no file may grow larger, as after `ulimit -f`.
            is_ordinary_user: without root's right to read everything.
            options: `cwd`, `env`, streams and more, as `subprocess.Popen` takes them.
        """
        self._server = server_of(modules)
        self._document = {
            "code": code,
            "argv": [program, *arguments],
            "max_file_bytes": max_file_bytes,
            "is_ordinary_user": is_ordinary_user and os.geteuid() == 0,
        }
        super().__init__(arguments, **options)

    def _execute_child(self, *given: Any) -> None:
        """What `subprocess` calls to start the process; it made the pipes and closes them."""
        cwd, environ, pipes = given[5], given[6], given[10:16]
        document = {
            **self._document,
            "cwd": os.path.abspath(os.fspath(cwd or ".")),  # noqa: PTH100 - not resolved
            "environ": dict(os.environ if environ is None else environ),
        }
        ends = pipes[0], pipes[3], pipes[5]
        streams = [stream if end == -1 else end for stream, end in enumerate(ends)]
        self._request = ForkRequest(self._server, streams, document)
        self.pid = self._request.pid
        self._child_created = True
        self._close_pipe_fds(*pipes)  # type: ignore[attr-defined] # not public

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            try:
                self.returncode = self._request.exit_code(timeout)
            except TimeoutError:
                assert timeout is not None
                raise subprocess.TimeoutExpired(self.args, timeout) from None
        return int(self.returncode)

    def _internal_poll(self, *_: object, **__: object) -> int | None:
        try:
            return self._wait(0.0)
        except subprocess.TimeoutExpired:
            return None


def call(path: str, code: str, arguments: list[str]) -> int:
    """Run a forked program with the streams of this process; returns its exit code.

    A SIGTERM to this process goes to the program.
    """
    document = {
        "code": code,
        "argv": arguments,
        "max_file_bytes": None,
        "is_ordinary_user": False,
        "cwd": os.getcwd(),  # noqa: PTH109 - this is all that a small program needs
        "environ": dict(os.environ),
    }
    request = ForkRequest(path, [0, 1, 2], document)
    signal.signal(signal.SIGTERM, lambda number, _: os.kill(request.pid, number))
    return request.exit_code()
