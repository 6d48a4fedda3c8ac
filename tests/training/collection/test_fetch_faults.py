"""Whatever goes wrong during a fetch, every file is right in the end, or named."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.forking import RUN_TRAINING, TRAINING, ForkedProcess
from tests.training.collection.fetching import TILES, assert_all_right, fetch, words
from tests.training.collection.mirrors import Mirror
from tests.training.command_line import wait_for
from tests.training.forked import forked
from training.cli import app
from training.collection import download
from training.collection.download import Patience

PAUSE_BEFORE = Patience.pause_before  # the fixture removes the pauses


def test_fetch_gives_up_on_an_unreachable_server_and_hides_the_password(tmp_path: Path) -> None:
    url = "http://user:secret@127.0.0.1:9/"
    arguments = ["dataset", "fetch", "--url", url, "--data-dir", str(tmp_path), "--retries", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/SHA256SUMS: the server cannot be reached" in words(result)
    assert "secret" not in result.output


def test_fetch_refuses_a_file_that_is_too_large(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_FILE_BYTES", 2000)
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 1
    assert "it has more than 2000 bytes, too many for this collection" in words(result)


FAULTS = ["drop", "corrupt", "503", "404", "short", "page", "gone"]


faulty = st.dictionaries(
    st.sampled_from(["SHA256SUMS", "features.csv", *TILES]),
    st.lists(st.sampled_from(["", "", *FAULTS]), max_size=6),
)


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(faults=faulty, retries=st.integers(0, 3))
def test_fetch_leaves_every_file_right_or_named_whatever_the_server_does(
    mirror: Mirror, faults: dict[str, list[str]], retries: int
) -> None:
    require_right_or_named(mirror, faults, retries)


@pytest.mark.exhaustive
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
@given(faults=faulty, retries=st.integers(0, 3))
def test_fetch_leaves_every_file_right_or_named_after_many_faults(
    mirror: Mirror, faults: dict[str, list[str]], retries: int
) -> None:
    require_right_or_named(mirror, faults, retries)


def require_right_or_named(mirror: Mirror, faults: dict[str, list[str]], retries: int) -> None:
    mirror.faults.clear()
    mirror.faults.update(faults)
    folder = Path(tempfile.mkdtemp())
    try:
        result = fetch(mirror, folder, "--retries", retries)
        assert result.exit_code in (0, 1), result.output
        assert "Traceback" not in result.output
        output = words(result)
        there = {path for path in ["features.csv", *TILES] if (folder / path).exists()}
        if "SHA256SUMS" not in faults:  # else files are only decoded, which finds less
            for path in there:
                assert (folder / path).read_bytes() == mirror.files[path]
        if result.exit_code == 0:
            assert there == {"features.csv", *TILES}
        elif "tiles are right" in output:
            missing = {"features.csv", *TILES} - there
            assert missing
            assert all(f"not right: {path}" in output for path in missing)
        mirror.faults.clear()
        assert fetch(mirror, folder).exit_code == 0
        assert_all_right(mirror, folder)
    finally:
        shutil.rmtree(folder)


def command(mirror: Mirror, folder: Path) -> list[object]:
    return ["dataset", "fetch", "--url", mirror.url, "--data-dir", folder]


@pytest.mark.parametrize(
    ("signal_", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_fetch_downloads_only_missing_files_after_an_interruption(
    mirror: Mirror, tmp_path: Path, signal_: signal.Signals, code: int
) -> None:
    mirror.faults[TILES[1]] = ["stall"]
    others = [tmp_path / path for path in ("features.csv", TILES[0], TILES[2])]
    log_file = tmp_path.with_suffix(".log")
    with forked(*command(mirror, tmp_path), log_file=log_file) as process:
        wait_for(mirror.half_sent.is_set, process)
        wait_for(lambda: all(path.exists() for path in others), process)
        busy = fetch(mirror, tmp_path)
        assert busy.exit_code == 1
        assert "Another fetch is using" in words(busy)
        process.send_signal(signal_)
        output = process.communicate()
    assert process.returncode == code, output
    assert not (tmp_path / TILES[1]).exists()
    if signal_ == signal.SIGINT:
        assert "it fetches what is missing" in output
    mirror.requests.clear()
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
    assert mirror.requests == [("SHA256SUMS", 200), (TILES[1], 200)]
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    assert f"{sha256(mirror.files[TILES[1]]).hexdigest()}  {TILES[1]}" in lines


def test_fetch_removes_what_a_kill_left_half_written(mirror: Mirror, tmp_path: Path) -> None:
    left = tmp_path / f"{TILES[0]}.4711.part"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)


def test_fetch_reports_a_full_disk(mirror: Mirror, tmp_path: Path) -> None:
    # A limit on the size of files gives the system's own error, as a full disk does.
    arguments = [str(word) for word in command(mirror, tmp_path)]
    training: dict[str, Any] = {"modules": TRAINING, "code": RUN_TRAINING, "max_file_bytes": 1500}
    streams: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with ForkedProcess(arguments, **training, **streams) as process:
        output, _ = process.communicate()
    assert process.returncode == 1, output
    assert "cannot be written (File too large). Make room" in output
    assert "Traceback" not in output
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)


@pytest.mark.parametrize(
    ("retry", "retry_after", "pause_s"),
    [(1, None, 0), (2, None, 0.5), (4, None, 2), (20, None, 60), (1, "7", 7), (1, "900", 60)],
)
def test_pauses_double_and_honour_the_server(
    retry: int, retry_after: str | None, pause_s: float
) -> None:
    assert PAUSE_BEFORE(Patience(), retry, retry_after) == pause_s
