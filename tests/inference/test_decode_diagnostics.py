"""What decoders print about a file goes nowhere; why a decode process ended goes to the log."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from app.core.errors import NotReadyError, TileError
from app.core.tile import DEFAULT_LIMITS, decode_tile
from app.core.tile_errors import CorruptTileError, DecodeBudgetError
from app.inference import decode_process
from app.inference.decode_processes import DecodeProcesses
from tests.attacks.files import FILES
from tests.bundles import plain_tile
from tests.cli.program import command, run
from tests.conftest import REPOSITORY
from tests.inference.test_decode_processes import children
from tests.servers import running_server, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="reads /proc"),
]

TILE: Final = plain_tile((200, 120, 170), 300, "TIFF")
DISLIKED: Final = {
    "no LZW": FILES["lzw_of_nothing"](),
    "too little data": FILES["one_giant_strip"](),
    "a tag that warns": FILES["warnings_without_end"](),
    "cut": TILE[:-1000],
}


@pytest.fixture
def processes() -> Iterator[DecodeProcesses]:
    processes = DecodeProcesses(1, 20.0, 512 * 1024**2)
    yield processes
    processes.close()


def decode(processes: DecodeProcesses) -> None:
    processes.decode(TILE, DEFAULT_LIMITS, 224)


def test_libtiff_prints_what_it_dislikes(capfd: pytest.CaptureFixture[str]) -> None:
    """Else the tests below would show nothing."""
    for name in ("no LZW", "too little data"):
        with pytest.raises(CorruptTileError):
            decode_tile(DISLIKED[name])
        assert "Decode" in capfd.readouterr().err


def test_service_logs_nothing_but_json(tmp_path: Path) -> None:
    with running_server(tmp_path) as server:
        server.wait_until_ready()
        for content in DISLIKED.values():
            server.client.post(f"{server.url}/v1/classify", content=content, timeout=60)
        server.stop()
    lines = (tmp_path / "serve.log").read_text().splitlines()
    events = [json.loads(line) for line in lines]
    assert len([event for event in events if event.get("route") == "/v1/classify"]) == len(DISLIKED)
    assert "Decode" not in str(events)


def test_command_prints_nothing_but_its_own_sentences(tmp_path: Path) -> None:
    for name, content in DISLIKED.items():
        (tmp_path / f"{name}.tif").write_bytes(content)
    done = run(command("classify", tmp_path, "--format", "csv"), REPOSITORY)
    assert done.stderr.splitlines() == [b"osteo: 3 of 4 files could not be classified."]


def test_crash_is_logged_with_its_traceback(
    processes: DecodeProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    decode(processes)
    (child,) = children(os.getpid())
    os.kill(child, signal.SIGSEGV)
    with pytest.raises(DecodeBudgetError):
        decode(processes)
    (record,) = caplog.records
    assert (record.message, record.levelno) == ("decoder_crashed", logging.ERROR)
    assert vars(record)["exit_status"] == -signal.SIGSEGV
    assert "decode_program.py" in vars(record)["traceback"]


def test_process_that_cannot_start_is_logged(
    processes: DecodeProcesses,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(decode_process, "_PROGRAM", "import a_missing_library")
    with pytest.raises(MemoryError):
        decode(processes)
    (record,) = caplog.records
    assert record.message == "decode_process_not_started"
    assert "No module named 'a_missing_library'" in vars(record)["traceback"]


def test_end_of_the_service_is_not_logged_as_a_crash(
    processes: DecodeProcesses, caplog: pytest.LogCaptureFixture
) -> None:
    decode(processes)
    (child,) = children(os.getpid())
    os.kill(child, signal.SIGSTOP)
    errors: list[Exception] = []

    def decode_until_the_end() -> None:
        try:
            decode(processes)
        except (NotReadyError, TileError) as error:
            errors.append(error)

    thread = threading.Thread(target=decode_until_the_end)
    thread.start()
    wait_until(processes._idle.empty)
    processes.close()
    thread.join()
    assert [type(error) for error in errors] == [NotReadyError]
    assert not caplog.records
