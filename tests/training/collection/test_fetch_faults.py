"""Whatever goes wrong during a fetch, every file is right in the end, or named."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.training.collection.fetching import TILES, assert_all_right, fetch, words
from tests.training.collection.mirrors import Mirror
from training.cli import app
from training.collection import download

ROOT = Path(__file__).parents[3]


def test_fetch_gives_up_on_a_server_that_is_gone_and_hides_the_password(tmp_path: Path) -> None:
    url = "http://user:secret@127.0.0.1:9/"
    arguments = ["dataset", "fetch", "--url", url, "--data-dir", str(tmp_path), "--retries", "1"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "http://127.0.0.1:9/SHA256SUMS: the server cannot be reached" in words(result)
    assert "secret" not in result.output


def test_fetch_refuses_a_file_without_end(
    mirror: Mirror, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "MAX_FILE_BYTES", 2000)
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 1
    assert "too many for this collection" in words(result)


FAULTS = ["drop", "corrupt", "503", "404", "no range", "short", "page", "gone", "wrong range"]


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    faults=st.dictionaries(
        st.sampled_from(["SHA256SUMS", "features.csv", *TILES]),
        st.lists(st.sampled_from(["", "", *FAULTS]), max_size=6),
    ),
    retries=st.integers(0, 3),
)
def test_whatever_the_server_does_files_are_right_or_named(
    mirror: Mirror, faults: dict[str, list[str]], retries: int
) -> None:
    mirror.faults.clear()
    mirror.faults.update(faults)
    folder = Path(tempfile.mkdtemp())
    try:
        result = fetch(mirror, folder, "--retries", retries)
        assert result.exit_code in (0, 1), result.output
        assert "Traceback" not in result.output
        output = words(result)
        there = {path for path in ["features.csv", *TILES] if (folder / path).exists()}
        if "SHA256SUMS" not in faults:  # else decoding alone has to judge, and sees less
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


def start(mirror: Mirror, folder: Path, prelude: str = "") -> subprocess.Popen[str]:
    """The command in a process of its own, as a user starts it."""
    code = f"{prelude}\nfrom training.cli import app; app()"
    arguments = ["dataset", "fetch", "--url", mirror.url, "--data-dir", str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        cwd=ROOT,
        env={**os.environ, "COLUMNS": "200"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize(
    ("signal_", "code"), [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130)]
)
def test_fetch_goes_on_where_it_was_ended(
    mirror: Mirror, tmp_path: Path, signal_: signal.Signals, code: int
) -> None:
    mirror.faults[TILES[1]] = ["stall"]
    process = start(mirror, tmp_path)
    part = tmp_path / f"{TILES[1]}.part"
    assert mirror.half_sent.wait(30)
    while not (part.exists() and part.stat().st_size):
        time.sleep(0.01)
    busy = fetch(mirror, tmp_path)
    assert busy.exit_code == 1
    assert "Another fetch is at work" in words(busy)
    process.send_signal(signal_)
    output, _ = process.communicate(timeout=20)
    assert process.returncode == code, output
    if signal_ == signal.SIGINT:
        assert "it goes on where it was" in output
    mirror.requests.clear()
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
    assert mirror.statuses(TILES[1]) == [206]
    lines = (tmp_path / "SHA256SUMS").read_text().splitlines()
    assert len(lines) == 4
    assert f"{sha256(mirror.files[TILES[1]]).hexdigest()}  {TILES[1]}" in lines


def test_fetch_says_that_the_disk_is_full(mirror: Mirror, tmp_path: Path) -> None:
    # A process may not write files beyond this size: the system's own error, as on a full disk.
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1500, 1500))"
    process = start(mirror, tmp_path, limit)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 1, output
    assert "cannot be written: File too large. Make room" in output
    assert "Traceback" not in output
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
