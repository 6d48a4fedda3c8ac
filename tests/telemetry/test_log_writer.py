"""The log's writer, and a server whose log nobody reads."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.telemetry import log_writer
from app.telemetry.log_writer import MAX_WAITING_BYTES, LogWriter
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.forking import RUN_APP, ForkedProcess
from tests.servers import RunningServer, free_port, plain_client

LONG = "x" * 2000
N_LINES = 2 * MAX_WAITING_BYTES // len(LONG)
"""Twice as many as wait at most."""


class Pipe:
    """A pipe, and a logger that writes to it."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        self.handler = LogWriter(self.writer)
        self.handler.setFormatter(
            logging.Formatter("%(message)s %(n_lines)s", defaults={"n_lines": ""})
        )
        self.logger = logging.Logger("test")  # noqa: LOG001 - not part of the tree of loggers
        self.logger.addHandler(self.handler)

    def read_until(self, text: str) -> str:
        taken = ""
        while text not in taken:
            taken += os.read(self.reader, 65_536).decode()
        return taken


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    pipe = Pipe()
    yield pipe
    os.close(pipe.reader)
    pipe.handler.close()
    os.close(pipe.writer)


def test_lines_arrive_in_order(pipe: Pipe) -> None:
    for i in range(100):
        pipe.logger.warning("line %d.", i)
    assert pipe.read_until("line 99.").split() == [w for i in range(100) for w in ("line", f"{i}.")]
    assert pipe.handler.n_dropped == 0


def test_lines_are_dropped_and_counted_when_nobody_reads(pipe: Pipe) -> None:
    for _ in range(N_LINES):
        pipe.logger.warning(LONG)  # returns although the pipe is full
    assert 0 < pipe.handler.n_dropped < N_LINES


def test_returning_reader_is_told_how_many_lines_were_dropped(pipe: Pipe) -> None:
    for _ in range(N_LINES):
        pipe.logger.warning(LONG)
    n_dropped = pipe.handler.n_dropped
    taken = pipe.read_until(f"log_lines_dropped {n_dropped}\n")
    assert taken.count(LONG) + n_dropped <= N_LINES
    pipe.logger.warning("back")
    assert "log_lines_dropped" not in pipe.read_until("back \n")


def test_writer_waits_for_a_pipe_that_does_not_block(pipe: Pipe) -> None:
    flags = fcntl.fcntl(pipe.writer, fcntl.F_GETFL)
    fcntl.fcntl(pipe.writer, fcntl.F_SETFL, flags | os.O_NONBLOCK)
    for _ in range(100):
        pipe.logger.warning(LONG)
    pipe.logger.warning("end")
    assert pipe.read_until("end \n").count(LONG) == 100


def test_writer_survives_a_reader_that_leaves(pipe: Pipe) -> None:
    reader = os.dup(pipe.reader)
    os.close(pipe.reader)
    os.close(reader)
    pipe.logger.warning("lost")
    pipe.logger.warning("lost")
    pipe.handler.flush()
    assert pipe.handler.n_dropped == 2
    pipe.reader = os.open(os.devnull, os.O_RDONLY)  # for the fixture to close


def test_close_gives_up_on_a_reader_that_has_stopped(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_writer, "_FLUSH_S", 0.2)
    for _ in range(100):
        pipe.logger.warning(LONG)
    started = time.monotonic()
    pipe.handler.close()
    assert time.monotonic() - started >= 0.2
    pipe.logger.warning("late")
    assert pipe.handler.n_dropped == 1


PROGRAM = """
import logging, sys, threading
from app.telemetry import log_writer
from app.telemetry.logs import configure_logs
if len(sys.argv) > 2:
    log_writer._FLUSH_S = float(sys.argv[2])
configure_logs("info")
for i in range(int(sys.argv[1])):
    logging.getLogger("osteo").info("line", extra={"i": i})
def fail(): raise ValueError("in a thread")
thread = threading.Thread(target=fail); thread.start(); thread.join()
"""


def test_all_lines_are_written_before_the_process_ends() -> None:
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, "5000"],
        capture_output=True,
        check=True,
        cwd=REPOSITORY,
    )
    events = [json.loads(line) for line in run.stderr.splitlines()]
    assert [event.get("i") for event in events[:-1]] == list(range(5000))
    assert events[-1]["event"] == "thread_failed"
    assert "in a thread" in events[-1]["exc_info"]


def test_process_ends_although_nobody_reads_its_log() -> None:
    command = [sys.executable, "-c", PROGRAM, "5000", "0.2"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, cwd=REPOSITORY) as process:
        assert process.wait(timeout=120) == 0


@pytest.mark.slow
def test_server_answers_although_nobody_reads_its_log(tmp_path: Path) -> None:
    port = free_port()
    process = ForkedProcess(
        ["serve", "--port", str(port)],
        code=f"from app.telemetry import log_writer; log_writer._FLUSH_S = 0.2\n{RUN_APP}",
        stderr=subprocess.PIPE,
        pipesize=select.PIPE_BUF,
        env={"OSTEO_MODELS_DIR": str(RELEASED_MODELS), "OSTEO_WORKERS": "1", "PATH": ""},
        cwd=REPOSITORY,
    )
    with process, plain_client(timeout=60) as client:
        try:
            server = RunningServer(process, f"http://127.0.0.1:{port}", tmp_path / "none", client)
            server.wait_until_ready()

            def ask(_: int) -> int:
                headers = {"X-Request-ID": "r" * 100}
                answer = client.post(f"{server.url}/v1/classify", content=b"", headers=headers)
                return answer.status_code

            assert process.stderr is not None
            n_bytes = fcntl.fcntl(process.stderr, fcntl.F_GETPIPE_SZ)
            with ThreadPoolExecutor(4) as pool:  # three times as many lines as the pipe holds
                assert set(pool.map(ask, range(3 * n_bytes // 300))) == {422}
            assert client.get(f"{server.url}/readyz").status_code == 200
            process.terminate()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()
