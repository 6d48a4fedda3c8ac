"""`osteo audit`: what it prints, and how it ends."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from app.audit.chain_writer import ChainWriter
from app.audit.opening import make_store
from app.cli.commands import app
from tests.audit.samples import a_refusal, an_answer, write
from tests.cli.program import command, run, sentences

TILE = b"the bytes of a tile"
TILE_SHA256 = hashlib.sha256(TILE).hexdigest()


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The audit of the settings: some answers, one of them to a tile that is a file."""
    monkeypatch.setenv("OSTEO_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "250")
    answer = an_answer(2, tile_sha256=TILE_SHA256, review_reasons=["blurred"])
    write(f"sqlite:///{tmp_path}/audit.sqlite3", an_answer(1), answer, a_refusal(), chain="pod-0")
    (tmp_path / "tile.jpg").write_bytes(TILE)
    return tmp_path / "audit.sqlite3"


def invoke(*arguments: object, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["audit", *map(str, arguments)], input=answer)


def change(file: Path, sql: str) -> None:
    with closing(sqlite3.connect(file)) as connection, connection:
        assert connection.execute(sql).rowcount == 1


def test_verify_lists_chains_and_ends_with_0() -> None:
    done = invoke("verify")
    assert done.exit_code == 0, done.output
    assert "pod-0" in done.stdout
    assert "5 records verified; nothing was changed or removed." in done.stdout


def test_verify_names_what_was_changed_and_ends_with_1(file: Path) -> None:
    change(file, "UPDATE audit SET record = replace(record, '200', '500') WHERE seq = 3")
    done = invoke("verify", "--url", f"sqlite:///{file}")
    assert done.exit_code == 1
    assert "Chain pod-0, record 3: edited: " in done.stderr
    assert "The audit is not as it was written." in done.stderr


def test_verify_takes_heads_of_the_log() -> None:
    head = f"pod-0:9:{'0' * 64}"
    done = invoke("verify", "--head", head)
    assert done.exit_code == 1
    assert "the chain ends at 5, but the log knows record 9" in done.stderr


def test_verify_refuses_what_is_no_head() -> None:
    done = invoke("verify", "--head", "pod-0")
    assert done.exit_code == 2
    assert "write CHAIN:SEQ:HASH" in done.stderr


def test_find_by_file_says_which_model_said_what(file: Path) -> None:
    done = invoke("find", "--file", file.parent / "tile.jpg")
    assert done.exit_code == 0, done.output
    assert "non_tumor 0.7000; review: blurred" in done.stdout
    assert "osteo-mobilenetv2 3 litert fp32 bbbbbbbbbbbb" in done.stdout
    assert "pod-0:3" in done.stdout


def test_find_by_tile_prints_json() -> None:
    done = invoke("find", "--tile", TILE_SHA256.upper(), "--json")
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["request_id"] == "request-2"


def test_find_by_request() -> None:
    assert "pod-0:2" in invoke("find", "--request-id", "request-1").stdout


def test_find_prints_whole_ids_to_another_program(file: Path) -> None:
    request_id = "order 2026-11-26/" + "x" * 111
    answer = an_answer(9, request_id=request_id, caller="C" * 90)
    write(f"sqlite:///{file}", answer, chain="pod-1")
    done = run(
        command("audit", "find", "--request-id", request_id),
        file.parent,
        OSTEO_STATE_DIR=str(file.parent),
        COLUMNS="80",
    )
    assert done.returncode == 0, done.stderr
    header, row = done.stdout.decode().splitlines()
    assert header.startswith("time (UTC)")
    assert {request_id, "C" * 90, "pod-1:2"} <= {cell.strip() for cell in row.split("  ")}


def test_find_ends_with_1_if_there_is_no_record() -> None:
    done = invoke("find", "--tile", "f" * 64)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"No record of {'f' * 64}." in done.stderr


def test_find_wants_something_to_look_for() -> None:
    done = invoke("find")
    assert done.exit_code == 2
    assert "give --tile, --file or --request-id" in done.stderr


def test_export_writes_json_lines() -> None:
    done = invoke("export", "--since", "2020-01-01")
    assert done.exit_code == 0, done.output
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert sorted(events) == ["answer", "answer", "refusal", "start", "stop"]
    assert "5 records exported." in done.stderr


def test_export_writes_csv_into_a_file(file: Path) -> None:
    done = invoke("export", "-f", "csv", "-o", file.parent / "audit.csv")
    assert (done.exit_code, done.stdout) == (0, "")
    rows = list(csv.DictReader(io.StringIO((file.parent / "audit.csv").read_text())))
    assert sorted(row["status"] for row in rows) == ["", "", "200", "200", "429"]


def test_export_of_an_empty_period_writes_nothing() -> None:
    done = invoke("export", "--until", "2020-01-01")
    assert (done.exit_code, done.stdout) == (0, "")


def test_export_refuses_a_wrong_time() -> None:
    done = invoke("export", "--since", "yesterday")
    assert done.exit_code == 2
    assert "'yesterday' is not a date such as 2026-11-26" in done.stderr


@pytest.fixture
def old_file(file: Path) -> Path:
    """The audit with a second chain, from 2025."""
    store = make_store(f"sqlite:///{file}")
    days = (datetime(2025, 3, 1, tzinfo=UTC) + timedelta(days=n) for n in range(40))
    ChainWriter(store, "pod-1").append([an_answer(at=day) for day in days])
    store.close()
    return file


@pytest.mark.usefixtures("old_file")
def test_prune_asks_and_keeps_the_rest_verifiable() -> None:
    done = invoke("prune", "--before", "2025-03-11", answer="y\n")
    assert done.exit_code == 0, done.output
    assert "Remove 10 records before 2025-03-11T00:00:00.000000Z for good?" in done.stderr
    assert "10 records removed." in done.stdout
    done = invoke("verify")
    assert done.exit_code == 0, done.output
    assert "36 records verified" in done.stdout


@pytest.mark.usefixtures("old_file")
def test_prune_removes_nothing_without_a_yes() -> None:
    done = invoke("prune", "--before", "2025-03-11", answer="n\n")
    assert done.exit_code == 1
    assert "Nothing was removed." in done.stderr
    assert "45 records verified" in invoke("verify").stdout


def test_prune_does_not_hide_what_was_changed(old_file: Path) -> None:
    change(old_file, "DELETE FROM audit WHERE chain = 'pod-1' AND seq = 4")
    done = invoke("prune", "--before", "2025-03-11", "--yes")
    assert done.exit_code == 1
    assert "chain pod-1, record 4 is missing" in done.stderr


@pytest.mark.usefixtures("old_file")
def test_prune_says_if_there_is_nothing_to_remove() -> None:
    done = invoke("prune", "--before", "2025-01-01", "--yes")
    assert done.exit_code == 0
    assert "No record is older than 2025-01-01T00:00:00.000000Z." in done.stdout


@pytest.mark.parametrize("name", ["verify", "export"])
def test_commands_say_where_no_audit_is(tmp_path: Path, name: str) -> None:
    empty = tmp_path / "empty"
    done = run(command("audit", name), tmp_path, OSTEO_STATE_DIR=str(empty))
    assert done.returncode == 2
    (sentence,) = sentences(done.stderr)
    assert sentence.startswith(f"There is no audit at sqlite:///{empty}/audit.sqlite3")
    assert not empty.exists()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://osteo:s3cret@/osteo?host=/nowhere",
        "postgresql+psycopg:///osteo?host=/nowhere&user=osteo&password=s3cret",
        "postgresql+psycopg:///osteo?host=/nowhere&password=s3cret&no_such_option=s3cret",
    ],
)
def test_password_is_not_printed(tmp_path: Path, url: str) -> None:
    done = run(command("audit", "verify"), tmp_path, OSTEO_AUDIT_URL=url)
    assert done.returncode == 1
    assert b"cannot be read" in done.stderr
    assert b"s3cret" not in done.stderr + done.stdout
