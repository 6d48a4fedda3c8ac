"""Decode processes keep their limits, are replaced, and end with the service."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from app.core.errors import DeadlineError, NotReadyError
from app.core.tile import DEFAULT_LIMITS, decode_tile
from app.core.tile_errors import CorruptTileError, DecodeBudgetError
from app.inference.decode_processes import DecodeProcesses
from app.runtime.cores import lower_thread_priority
from tests.attacks.files import FILES
from tests.bundles import damaged_tile, plain_tile
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

MIB = 1024**2
TILE = plain_tile((200, 120, 170), 300, "TIFF")
SLOW_S = 0.3
"""A limit that `slow_tile` exceeds and `TILE` does not."""


def slow_tile() -> bytes:
    """A second of decoding."""
    return FILES["tiles_within_the_padding"]()


def children(pid: int) -> list[int]:
    """Processes of this program that a process has started and that have not ended."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended
            found += map(int, (task / "children").read_text().split())
    return [child for child in found if "decode_program" in command_of(child)]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()  # empty once it has ended
    except OSError:
        return ""


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    processes = DecodeProcesses(1, 20.0, 512 * MIB)
    yield processes
    processes.close()


def decode(processes: DecodeProcesses, tile_bytes: bytes = TILE) -> np.ndarray:
    return processes.decode(tile_bytes, DEFAULT_LIMITS, 224)[0]


def test_decodes_as_in_the_same_process(processes: DecodeProcesses) -> None:
    for format_ in ("JPEG", "PNG", "TIFF", "WEBP"):
        tile = plain_tile((200, 120, 170), 300, format_)
        assert np.array_equal(decode(processes, tile), decode_tile(tile)), format_


def test_damage_arrives(processes: DecodeProcesses) -> None:
    assert processes.decode(damaged_tile(), DEFAULT_LIMITS, 224)[1].is_damaged
    assert not processes.decode(TILE, DEFAULT_LIMITS, 224)[1].is_damaged


def test_error_of_a_tile_arrives_and_the_process_stays(processes: DecodeProcesses) -> None:
    decode(processes)
    before = children(os.getpid())
    with pytest.raises(CorruptTileError) as caught:
        decode(processes, TILE[:-1000])
    assert caught.value.format == "TIFF"
    decode(processes)
    assert children(os.getpid()) == before


def test_no_more_processes_are_started_than_needed() -> None:
    processes = DecodeProcesses(4, 20.0, 512 * MIB)
    assert children(os.getpid()) == []
    for _ in range(5):
        decode(processes)
    assert len(children(os.getpid())) == 1
    processes.close()
    assert children(os.getpid()) == []


def test_process_that_exceeds_its_time_is_replaced() -> None:
    processes = DecodeProcesses(1, SLOW_S, 512 * MIB)
    decode(processes)
    (before,) = children(os.getpid())

    def decode_slow_tile() -> None:
        while True:  # on a busy machine it may first wait for longer than it may work
            with suppress(DeadlineError):
                decode(processes, slow_tile())

    with pytest.raises(DecodeBudgetError) as caught:
        decode_slow_tile()
    assert caught.value.reason == f"it takes more than {SLOW_S} s"
    assert np.array_equal(decode(processes), decode_tile(TILE))
    assert before not in children(os.getpid())
    processes.close()


def test_process_that_waits_is_replaced() -> None:
    """As on a machine that is too busy, which is not the tile's fault."""
    processes = DecodeProcesses(1, 0.2, 512 * MIB)
    decode(processes)
    (stopped,) = children(os.getpid())
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(DeadlineError) as caught:
        decode(processes)
    assert caught.value.limit_s == 1.0
    assert stopped not in children(os.getpid())
    processes.close()


def test_tile_that_exceeds_its_memory_is_refused() -> None:
    processes = DecodeProcesses(1, 60.0, 32 * MIB)
    with pytest.raises(DecodeBudgetError) as caught:
        decode(processes, FILES["strip_that_decompresses_to_much"]())  # 48 MiB of pixels
    assert caught.value.reason == f"it takes more than {32 * MIB} bytes of memory"
    assert np.array_equal(decode(processes), decode_tile(TILE))
    processes.close()


def test_process_that_crashes_is_replaced(processes: DecodeProcesses) -> None:
    decode(processes)
    (before,) = children(os.getpid())
    os.kill(before, signal.SIGSEGV)
    with pytest.raises(DecodeBudgetError) as caught:
        decode(processes)
    assert caught.value.reason == "its decoder crashed"
    assert np.array_equal(decode(processes), decode_tile(TILE))
    assert before not in children(os.getpid())


def test_tiles_of_several_threads_are_decoded() -> None:
    processes = DecodeProcesses(2, 20.0, 512 * MIB)
    expected = decode_tile(TILE)
    with ThreadPoolExecutor(6) as pool:
        for tile in pool.map(lambda _: decode(processes), range(30)):
            assert np.array_equal(tile, expected)
    assert len(children(os.getpid())) == 2
    processes.close()


def test_close_kills_what_is_at_work(processes: DecodeProcesses) -> None:
    decode(processes)
    (at_work,) = children(os.getpid())
    os.kill(at_work, signal.SIGSTOP)
    errors: list[Exception] = []

    def decode_until_closed() -> None:
        try:
            decode(processes)
        except NotReadyError as error:
            errors.append(error)

    thread = threading.Thread(target=decode_until_closed)
    thread.start()
    wait_until(processes._idle.empty)
    processes.close()
    thread.join(timeout=30)
    assert [str(error) for error in errors] == [
        "The service is not ready: the service is shutting down."
    ]
    assert children(os.getpid()) == []
    with pytest.raises(NotReadyError):
        decode(processes)


def test_settings_do_not_reach_the_process(
    processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTEO_ADMIN_TOKEN", "a secret of a service")
    decode(processes)
    (child,) = children(os.getpid())
    assert "OSTEO_" not in Path(f"/proc/{child}/environ").read_text()


def test_process_stays_after_a_large_tile(processes: DecodeProcesses) -> None:
    decode(processes)
    before = children(os.getpid())
    large = FILES["strip_that_decompresses_to_much"]()
    for _ in range(2):
        decode(processes, large)
    assert children(os.getpid()) == before


def test_process_has_the_priority_of_a_worker_thread(processes: DecodeProcesses) -> None:
    """Also if the thread that starts it already has that priority."""
    with ThreadPoolExecutor(1, initializer=lower_thread_priority) as pool:
        pool.submit(decode, processes).result()
        (child,) = children(os.getpid())  # Linux lists it below that thread while it lives
    niceness = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert os.getpriority(os.PRIO_PROCESS, child) == max(10, niceness)


def test_tile_is_refused_for_a_while_when_no_process_can_start(
    processes: DecodeProcesses, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(MemoryError):
        decode(processes)
    monkeypatch.undo()
    assert np.array_equal(decode(processes), decode_tile(TILE))


SERVICE = f"""
import io, os, signal, sys
from PIL import Image
from app.core.tile import DEFAULT_LIMITS
from app.inference.decode_processes import DecodeProcesses
file = io.BytesIO()
Image.new("RGB", (300, 300)).save(file, "TIFF")
processes = DecodeProcesses(1, 20.0, {512 * MIB})
os.setsid()
signal.signal(signal.SIGINT, lambda *_: None)
signal.signal(signal.SIGTERM, lambda *_: None)
for line in sys.stdin:
    print(processes.decode(file.getvalue(), DEFAULT_LIMITS, 224)[0].shape, flush=True)
"""


@pytest.fixture
def service() -> Iterator[subprocess.Popen[str]]:
    """A process in a group of its own that decodes a tile for each line that it reads."""
    with ForkedProcess(
        [],
        code=SERVICE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
    ) as process:
        ask(process)
        yield process
        process.kill()


def ask(service: subprocess.Popen[str]) -> None:
    assert service.stdin
    assert service.stdout
    service.stdin.write("next\n")
    service.stdin.flush()
    assert service.stdout.readline() == "(224, 224, 3)\n"


@pytest.mark.parametrize("is_at_work", [False, True])
def test_process_ends_when_its_service_is_killed(
    service: subprocess.Popen[str], is_at_work: bool
) -> None:
    (child,) = children(service.pid)
    if is_at_work:
        os.kill(child, signal.SIGSTOP)
        assert service.stdin
        service.stdin.write("next\n")
        service.stdin.flush()
        time.sleep(0.2)
        os.kill(child, signal.SIGCONT)
    service.kill()
    service.wait()
    wait_until(lambda: command_of(child) == "")


def test_ctrl_c_does_not_end_a_process(service: subprocess.Popen[str]) -> None:
    before = children(service.pid)
    os.killpg(service.pid, signal.SIGINT)
    ask(service)
    assert children(service.pid) == before


def test_signal_to_all_processes_ends_none(service: subprocess.Popen[str]) -> None:
    """A supervisor sends SIGTERM to all processes of a service, which drains first."""
    before = children(service.pid)
    for number in (signal.SIGINT, signal.SIGTERM):
        for pid in (*before, service.pid):
            os.kill(pid, number)
        ask(service)
        assert children(service.pid) == before, number
