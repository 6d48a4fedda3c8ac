"""Fetching from a server that misbehaves: every file is right, or named with exit code 1."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.training.collection.fetching import TILES, assert_all_right, fetch, words
from tests.training.collection.mirrors import Mirror, serve
from training.cli import app


def test_fetch_downloads_and_counts_table_and_tiles(mirror: Mirror, tmp_path: Path) -> None:
    result = fetch(mirror, tmp_path / "got")
    assert result.exit_code == 0, result.output
    assert_all_right(mirror, tmp_path / "got")
    assert "│ Case 4 │ 1 │ 1 │ 1 │ 0 │ 3 │" in words(result)
    assert "3 of 3 tiles are right. 0 files were here already. 4 files have" in words(result)
    command = ["sha256sum", "--strict", "--check", "SHA256SUMS"]
    subprocess.run(command, cwd=tmp_path / "got", check=True)


def test_fetched_folder_works_as_a_mirror(mirror: Mirror, tmp_path: Path) -> None:
    assert fetch(mirror, tmp_path / "one").exit_code == 0
    with serve(tmp_path / "one") as second:
        assert fetch(second, tmp_path / "two").exit_code == 0
    assert_all_right(mirror, tmp_path / "two")


def test_fetch_reads_directory_listings_when_there_are_no_hashes(
    mirror: Mirror, tmp_path: Path
) -> None:
    del mirror.files["SHA256SUMS"]
    result = fetch(mirror, tmp_path / "got")
    assert result.exit_code == 0, result.output
    assert_all_right(mirror, tmp_path / "got")
    assert "0 files have a published SHA-256; the others were decoded" in words(result)


def test_fetch_does_not_request_a_file_that_is_here(mirror: Mirror, tmp_path: Path) -> None:
    assert fetch(mirror, tmp_path).exit_code == 0
    mirror.requests.clear()
    assert "4 files were here already" in words(fetch(mirror, tmp_path))
    assert {path for path, _ in mirror.requests} == {"SHA256SUMS"}


@pytest.mark.parametrize("published", [True, False])
def test_fetch_replaces_a_file_that_was_damaged_here(
    mirror: Mirror, tmp_path: Path, published: bool
) -> None:
    if not published:
        del mirror.files["SHA256SUMS"]
    assert fetch(mirror, tmp_path).exit_code == 0
    damaged = bytearray(mirror.files[TILES[1]])
    damaged[len(damaged) // 2] ^= 1  # it still decodes, so only the recorded hash can find it
    (tmp_path / TILES[1]).write_bytes(damaged)
    assert "3 files were here already" in words(fetch(mirror, tmp_path))
    assert_all_right(mirror, tmp_path)


def test_fetch_downloads_a_broken_file_again(mirror: Mirror, tmp_path: Path) -> None:
    mirror.faults[TILES[0]] = ["drop", "drop", "503", ""]
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)
    assert mirror.statuses(TILES[0]) == [200, 200, 503, 200]


@pytest.mark.parametrize(
    "faults",
    [
        ["corrupt"],
        ["drop", "corrupt"],
        ["short"],
        ["page"],
        ["gone", "429", "500"],
    ],
)
def test_fetch_retries_until_the_file_is_right(
    mirror: Mirror, tmp_path: Path, faults: list[str]
) -> None:
    mirror.faults[TILES[2]] = faults
    assert fetch(mirror, tmp_path).exit_code == 0
    assert_all_right(mirror, tmp_path)


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
    assert "1 file is not right" in words(result)
    assert "2 of 3 tiles are right" in words(result)
    assert not (tmp_path / TILES[1]).exists()
    assert TILES[1] not in (tmp_path / "SHA256SUMS").read_text()


def test_fetch_finds_a_torn_tile_without_hashes(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files["SHA256SUMS"]
    mirror.faults[TILES[1]] = ["short"] * 20  # HTTP cannot find it: the length agrees
    result = fetch(mirror, tmp_path, "--retries", 1)
    assert result.exit_code == 1
    assert f"{TILES[1]}: The JPEG image is damaged or incomplete" in words(result)


def test_fetch_names_a_tile_that_the_mirror_does_not_list(mirror: Mirror, tmp_path: Path) -> None:
    del mirror.files[TILES[1]]
    del mirror.files["SHA256SUMS"]
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 1
    assert "Case-4-C1-100-200: the table names it, the mirror does not list it" in words(result)


def test_fetch_skips_tiles_without_a_row(mirror: Mirror, tmp_path: Path) -> None:
    mirror.files["Training-Set-1/set1/Case-4-C9-1-1.jpg"] = b"whatever"
    mirror.publish_hashes()
    result = fetch(mirror, tmp_path)
    assert result.exit_code == 0
    assert "1 tile of the mirror has no row in the table and was not fetched" in words(result)


def test_fetch_checks_the_mirror_with_hashes_from_elsewhere(mirror: Mirror, tmp_path: Path) -> None:
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
        ({"SHA256SUMS": b"rubbish"}, "line 1 is not HASH PATH"),
        ({"a.csv": b"a,b\n1,2\n", TILES[0]: b""}, "holds no CSV file with the columns"),
        ({TILES[0]: b""}, "lists tiles but no table"),
        ({"a.csv": b"<!DOCTYPE html>", TILES[0]: b""}, "a web page came instead of the file"),
        ({"a.csv": b"\xff\xff", TILES[0]: b""}, "it is not text"),
    ],
)
def test_fetch_reports_what_a_wrong_address_holds(
    mirror: Mirror, tmp_path: Path, files: dict[str, bytes], says: str
) -> None:
    mirror.files = files
    result = fetch(mirror, tmp_path, "--retries", 0)
    assert result.exit_code == 1
    assert says in words(result)
    assert "Traceback" not in result.output


@pytest.mark.parametrize("url", ["ftp://a/b", "nothing", "http://", "http://a:port/"])
def test_fetch_refuses_an_invalid_address(tmp_path: Path, url: str) -> None:
    arguments = ["dataset", "fetch", "--url", url, "--data-dir", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "is not an address" in words(result)
