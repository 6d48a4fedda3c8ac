"""`osteo` in a process of its own, with output that no test runner imitates."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shlex
import signal
import subprocess
from pathlib import Path

import pytest

from tests.bundles import plain_tile
from tests.cli.program import (
    CLOSED,
    LONGEST_WAIT_S,
    command,
    run,
    run_limited,
    sentences,
    started,
)
from training.data.drawn_tiles import draw_tile, encode_tile

FORMATS = ("table", "csv", "json")
NAMES = ("a.png", "切片.png", "two\nlines.png", "\x1b[31mred.png")
DISK_IS_FULL = "No space left on device."

pytestmark = pytest.mark.usefixtures("small_model")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Tiles with names that few encodings have, one of them not even UTF-8."""
    for name in NAMES:
        (tmp_path / name).write_bytes(plain_tile((200, 100, 150), 64))
    odd = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(odd)).write_bytes(plain_tile((200, 100, 150), 64))
    return tmp_path


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-16", "utf-8"])
def test_table_survives_the_encoding(folder: Path, encoding: str) -> None:
    done = run(command("classify", "."), folder, PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    table = done.stdout.decode(encoding)
    rows = table.replace("\r\n", "\n").split("\n\n")[0].splitlines()
    assert len(rows) == 1 + len(NAMES) + 1
    assert max(map(len, rows)) <= 80
    assert "caf\\xe9.png" in table
    assert ("切片.png" in table) == encoding.startswith("utf")
    assert "\x1b" not in table


MORE_LOCALES = (("cp1252", "csv"), ("ascii", "csv"), ("cp1252", "json"), ("utf-16", "json"))


@pytest.mark.parametrize(
    ("locale", "output_format"),
    [
        ("utf-16", "csv"),
        ("ascii", "json"),
        *(pytest.param(*case, marks=pytest.mark.exhaustive) for case in MORE_LOCALES),
    ],
)
def test_csv_and_json_are_utf8_in_every_locale(
    folder: Path, locale: str, output_format: str
) -> None:
    done = run(command("classify", ".", "-f", output_format), folder, PYTHONIOENCODING=locale)
    text = done.stdout.decode("utf-8")
    if output_format == "json":
        documents = json.loads(text)
    else:
        documents = list(csv.DictReader(io.StringIO(text, newline="")))
    assert {document["path"] for document in documents} == {*NAMES, "caf\\xe9.png"}


def test_names_are_read_where_the_locale_is_ascii(folder: Path) -> None:
    variables = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = run(command("classify", ".", "-f", "csv"), folder, **variables)
    assert done.returncode == 0, done.stderr
    assert "切片.png" in done.stdout.decode("utf-8")


@pytest.mark.parametrize("output_format", FORMATS)
def test_full_disk_is_one_sentence(folder: Path, output_format: str) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = run(command("classify", ".", "-f", output_format), folder, full)
    assert done.returncode == 1
    assert sentences(done.stderr) == [f"The output cannot be written: {DISK_IS_FULL}"]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["doctor"]])
def test_full_disk_is_one_sentence_for_every_command(tmp_path: Path, arguments: list[str]) -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123 - a device
        done = run(command(*arguments), tmp_path, full)
    assert done.returncode == 1
    assert sentences(done.stderr) == [f"The output cannot be written: {DISK_IS_FULL}"]


def require_whole(output: bytes, exit_code: int | None) -> None:
    """Require a row for each file, and the exit code that says that one could not be read."""
    assert exit_code == 1
    rows = csv.DictReader(io.StringIO(output.decode("utf-8"), newline=""))
    assert len(list(rows)) == len(NAMES) + 2


@pytest.fixture
def mixed(folder: Path) -> Path:
    """Tiles, an empty file and a slide, about which there is something to say."""
    (folder / "empty.png").write_bytes(b"")
    (folder / "slide.svs").write_bytes(b"")
    return folder


def test_output_is_whole_if_standard_error_is_full(mixed: Path) -> None:
    with (
        open("/dev/full", "wb") as full,  # noqa: PTH123 - a device
        started(command("classify", ".", "-f", "csv"), mixed, stderr=full) as process,
    ):
        output, _ = process.communicate(timeout=LONGEST_WAIT_S)
    require_whole(output, process.returncode)


def test_output_is_whole_if_standard_error_is_closed(mixed: Path) -> None:
    arguments = command("classify", ".", "-f", "csv")
    done = run_limited(arguments, mixed, before=CLOSED["stderr"])
    require_whole(done.stdout, done.returncode)


def test_closed_standard_output_does_no_harm(folder: Path) -> None:
    done = run_limited(command("classify", "a.png"), folder, before=CLOSED["stdout"])
    assert (done.returncode, sentences(done.stderr)) == (0, [])


@pytest.mark.exhaustive
def test_streams_that_a_shell_closed_do_no_harm(mixed: Path) -> None:
    arguments = command("classify", ".", "-f", "csv")
    done = run(["sh", "-c", f"{shlex.join(arguments)} 2>&-"], mixed)
    require_whole(done.stdout, done.returncode)
    done = run(["sh", "-c", 'exec "$@" >&-', "sh", *command("classify", "a.png")], mixed)
    assert sentences(done.stderr) == []


def test_full_disk_of_a_picture_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "tile.png").write_bytes(encode_tile(draw_tile("viable_tumor", 256, 0)))
    (tmp_path / "x.jpg").symlink_to("/dev/full")
    for output in ("/dev/full", "x.jpg"):
        done = run(command("explain", "tile.png", "-o", output), tmp_path)
        assert done.returncode == 1
        assert sentences(done.stderr) == [f"{output} cannot be written: {DISK_IS_FULL}"]


@pytest.mark.parametrize("output_format", FORMATS)
def test_closed_pipe_ends_quietly(folder: Path, output_format: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as closed:  # noqa: PTH123 - a file descriptor
        done = run(command("classify", ".", "-f", output_format), folder, closed)
    assert done.returncode == 128 + signal.SIGPIPE
    assert sentences(done.stderr) == []


@pytest.mark.parametrize("output_format", ["csv", "json"])
def test_ctrl_c_leaves_whole_rows(tmp_path: Path, output_format: str) -> None:
    for number in range(2000):
        (tmp_path / f"{number:04}.png").symlink_to("tile")
    (tmp_path / "tile").write_bytes(plain_tile((200, 100, 150), 64))
    with started(command("classify", ".", "-f", output_format), tmp_path) as process:
        assert process.stdout is not None
        first = process.stdout.read(2000)  # some rows are there
        process.send_signal(signal.SIGINT)
        rest, stderr = process.communicate(timeout=LONGEST_WAIT_S)
    assert process.returncode == 130
    assert b"Traceback" not in stderr
    *_skipped, sentence = sentences(stderr)
    assert sentence.startswith("Interrupted after ")
    assert sentence.endswith(" of 2000 files.")
    text = (first + rest).decode()
    if output_format == "json":
        paths = [document["path"] for document in json.loads(text)]
    else:
        rows = list(csv.DictReader(io.StringIO(text)))
        assert all(row["prediction"] and row["review"] is not None for row in rows)
        paths = [row["path"] for row in rows]
    assert paths == [f"{number:04}.png" for number in range(len(paths))]
    assert 0 < len(paths) < 2000


def test_progress_bar_leaves_standard_output_alone(folder: Path) -> None:
    controller, terminal = pty.openpty()
    with (folder / "out.csv").open("wb") as out, os.fdopen(terminal, "wb") as stderr:
        arguments = command("classify", ".", "-f", "csv")
        with started(arguments, folder, stdout=out, stderr=stderr) as process:
            assert process.wait(LONGEST_WAIT_S) == 0
    assert b"Classifying" in os.read(controller, 100_000)
    os.close(controller)
    with (folder / "out.csv").open(encoding="utf-8", newline="") as rows:
        assert len(list(csv.DictReader(rows))) == len(NAMES) + 1


@pytest.mark.parametrize(
    "wait_s",
    [0.6, *(pytest.param(wait_s, marks=pytest.mark.exhaustive) for wait_s in (0.2, 1.2))],
)
def test_ctrl_c_is_one_sentence_at_any_time(tmp_path: Path, wait_s: float) -> None:
    (tmp_path / "tile.png").write_bytes(plain_tile((200, 100, 150), 64))
    with started(command("classify", "."), tmp_path, is_forked=False) as process:
        try:
            process.wait(wait_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=LONGEST_WAIT_S)
    if b"init_import_site" in stderr:
        return  # on a busy machine Python itself is still starting
    assert b"Traceback" not in stderr
    # Python itself ends by the signal, which is 130 to a shell, where an import ran text with
    # `exec`, or if it has not come to the program yet: then nothing is printed.
    ended = process.returncode if process.returncode >= 0 else 128 - process.returncode
    is_early = process.returncode == -signal.SIGINT and not stderr
    assert is_early or (ended, len(sentences(stderr))) in {(130, 1), (0, 0)}
