"""Fetching from a server that misbehaves: every file is right, or is named, with exit code 1."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from tests.training.mirrors import Mirror, serve
from training.cli import app
from training.dataset import download
from training.dataset.download import Patience

ROOT = Path(__file__).parents[3]
TILES = [f"Training-Set-1/set1/Case-4-C{i}-100-200.jpg" for i in range(3)]


@pytest.fixture(autouse=True)
def _no_pauses_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Patience.start
    monkeypatch.setattr(Patience, "start", lambda self: plain(Patience(self.retries, 0.0, 0)))
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def mirror(collection: Path) -> Iterator[Mirror]:
    with serve(collection) as mirror:
        mirror.publish_hashes()
        yield mirror


def fetch(mirror: Mirror, folder: Path, *more: object) -> Result:
    arguments = ["dataset", "fetch", "--url", mirror.url, "--data-dir", folder, *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_all_right(mirror: Mirror, folder: Path) -> None:
    for path in ["features.csv", *TILES]:
        assert (folder / path).read_bytes() == mirror.files[path], path
    assert not list(folder.rglob("*.part*"))


def words(result: Result) -> str:
    return " ".join(result.output.split())


def test_fetch_brings_table_and_tiles_and_counts_them(mirror: Mirror, tmp_path: Path) -> None:
    result = fetch(mirror, tmp_path / "got")
    assert result.exit_code == 0, result.output
    assert_all_right(mirror, tmp_path / "got")
    assert "│ Case 4 │ 1 │ 1 │ 1 │ 0 │ 3 │" in words(result)
    assert "3 of 3 tiles are right; 0 file(s) were here already; 4 have" in words(result)
    command = ["sha256sum", "--strict", "--check", "SHA256SUMS"]
    subprocess.run(command, cwd=tmp_path / "got", check=True)


def test_a_fetched_folder_is_a_mirror(mirror: Mirror, tmp_path: Path) -> None:
    assert fetch(mirror, tmp_path / "one").exit_code == 0
    with serve(tmp_path / "one") as second:
        assert fetch(second, tmp_path / "two").exit_code == 0
    assert_all_right(mirror, tmp_path / "two")


def test_fetch_reads_directory_listings_where_there_are_no_hashes(
    mirror: Mirror, tmp_path: Path
) -> None:
    del mirror.files["SHA256SUMS"]
    result = fetch(mirror, tmp_path / "got")
    assert result.exit_code == 0, result.output
    assert_all_right(mirror, tmp_path / "got")
    assert "0 have a published SHA-256, others were decoded" in words(result)


def test_fetch_again_asks_for_no_file_twice(mirror: Mirror, tmp_path: Path) -> None:
    assert fetch(mirror, tmp_path).exit_code == 0
    mirror.requests.clear()
    assert "4 file(s) were here already" in words(fetch(mirror, tmp_path))
    assert {path for path, _, _ in mirror.requests} == {"SHA256SUMS"}


@pytest.mark.parametrize("published", [True, False])
def test_fetch_repairs_a_file_that_was_damaged_here(
    mirror: Mirror, tmp_path: Path, published: bool
) -> None:
    if not published:
        del mirror.files["SHA256SUMS"]
    assert fetch(mirror, tmp_path).exit_code == 0
    damaged = bytearray(mirror.files[TILES[1]])
    damaged[len(damaged) // 2] ^= 1  # it still decodes, so only the recorded hash can tell
    (tmp_path / TILES[1]).write_bytes(damaged)
    assert "3 file(s) were here already" in words(fetch(mirror, tmp_path))
    assert_all_right(mirror, tmp_path)


def test_fetch_goes_on_in_the_middle_of_a_file(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults[TILES[0]] = ["drop", "drop", "503", ""]
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
    assert mirror.statuses(TILES[0]) == [200, 206, 503, 206]


@pytest.mark.parametrize(
    "faults",
    [
        ["corrupt"],
        ["drop", "no range"],
        ["drop", "wrong range"],
        ["drop", "corrupt"],
        ["short"],
        ["page"],
        ["gone", "429", "500"],
    ],
)
def test_fetch_gets_it_right_in_the_end(mirror: Mirror, tmp_path: Path, faults: list[str]) -> None:
    mirror.faults[TILES[2]] = faults
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)


def test_fetch_does_not_join_halves_of_two_versions(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["SHA256SUMS"]
    mirror.faults[TILES[0]] = ["drop"] * 3
    assert fetch(mirror, tmp_path, "--retries", 2).exit_code == 1
    assert list(tmp_path.rglob("*.part"))
    mirror.files[TILES[0]] = mirror.files[TILES[1]]
    mirror.requests.clear()
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
    assert mirror.statuses(TILES[0]) == [200]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("corrupt", "its SHA-256 is"),
        ("page", "a web page came instead"),
        ("404", "the server does not have it"),
        ("401", "the server wants a login"),
        ("503", "the server answers with status 503"),
        ("drop", "the connection ended before the file did"),
        ("gone", "the server cannot be reached, or closed the connection"),
    ],
)
def test_fetch_names_the_file_that_is_not_right(
    mirror: Mirror, tmp_path: Path, fault: str, says: str
) -> None:
    mirror.faults[TILES[1]] = [fault] * 20
    result = fetch(mirror, tmp_path, "--retries", 2)
    assert result.exit_code == 1
    assert f"not right: {TILES[1]}: {says}" in words(result)
    assert "1 file(s) are not right" in words(result)
    assert "2 of 3 tiles are right" in words(result)
    assert not (tmp_path / TILES[1]).exists()
    assert TILES[1] not in (tmp_path / "SHA256SUMS").read_text()


def test_fetch_tells_a_torn_tile_without_hashes(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["SHA256SUMS"]
    mirror.faults[TILES[1]] = ["short"] * 20  # HTTP itself cannot tell: the length agrees
    result = fetch(mirror, tmp_path, "--retries", 1)
    assert result.exit_code == 1
    assert f"{TILES[1]}: The JPEG image is damaged or incomplete" in words(result)


def test_fetch_names_a_tile_that_the_mirror_does_not_list(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files[TILES[1]]
    del mirror.files["SHA256SUMS"]
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 1
    assert "Case-4-C1-100-200: the table names it, the mirror does not list it" in words(result)


def test_fetch_leaves_tiles_without_a_row(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["Training-Set-1/set1/Case-4-C9-1-1.jpg"] = b"whatever"
    mirror.publish_hashes()
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 0
    assert "1 tile(s) of the mirror have no row" in words(result)


def test_fetch_holds_the_mirror_against_hashes_from_elsewhere(
    mirror: Mirror, tmp_path: Path
) -> None:
    trusted = tmp_path / "trusted"
    trusted.write_text(f"{'0' * 64}  {TILES[0]}\n")
    result = fetch(mirror, tmp_path / "got", "--retries", 0, "--hashes", trusted)
    assert result.exit_code == 1
    assert f"not right: {TILES[0]}: its SHA-256 is" in words(result)


@pytest.mark.parametrize(
    "line",
    [
        "../outside.csv",
        "Training-Set-1/../../x/a.jpg",
        "Training-Set-1/set1/../a.jpg",
        "/etc/x.csv",
        "Training-Set-1/set1/a\tb.jpg",
    ],
)
def test_fetch_writes_nothing_outside_its_folder(mirror: Mirror, tmp_path: Path, line: str) -> None:
    mirror.files["SHA256SUMS"] += f"\n{'0' * 64}  {line}".encode()
    assert fetch(mirror, tmp_path / "got").exit_code == 0
    assert_all_right(mirror, tmp_path / "got")
    assert not (tmp_path / "outside.csv").exists()


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "lists no Training-Set-*/set*/NAME.jpg"),
        ({"SHA256SUMS": b"rubbish"}, "line 1: it is not HASH PATH"),
        ({"a.csv": b"a,b\n1,2\n", TILES[0]: b""}, "holds no CSV file with the columns"),
        ({TILES[0]: b""}, "lists tiles but no table"),
        ({"a.csv": b"<!DOCTYPE html>", TILES[0]: b""}, "a web page came instead of the file"),
        ({"a.csv": b"\xff\xff", TILES[0]: b""}, "it is not text"),
    ],
)
def test_fetch_says_what_a_wrong_address_holds(
    mirror: Mirror, tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    mirror.files = files
    result = fetch(mirror, tmp_path, "--retries", 0)
    assert result.exit_code == 1
    assert says in words(result)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["ftp://a/b", "nothing", "http://", "http://a:port/"])
def test_fetch_refuses_what_is_no_address(tmp_path: Path, url: str) -> None:
    arguments = ["dataset", "fetch", "--url", url, "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "is not an address" in words(result)


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
