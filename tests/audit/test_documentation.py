"""What `docs/audit.md` gives to auditors and administrators works as printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.audit.export import write_json_lines
from app.audit.opening import make_store
from app.audit.reading import walk_period
from app.audit.records import FIELD_NAMES
from tests.audit.postgresql import Cluster
from tests.audit.samples import an_answer, stored, write
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "audit.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.M | re.S)
    return str(found)


@pytest.fixture
def export(sqlite_url: str, tmp_path: Path) -> Path:
    write(sqlite_url, *map(an_answer, range(5)), chain="a")
    write(sqlite_url, an_answer(caller="Zoë"), chain="b")
    store, file = make_store(sqlite_url), tmp_path / "audit.jsonl"
    with file.open("w", encoding="utf-8") as stream:
        write_json_lines(walk_period(store, None, None), stream)
    store.close()
    return file


def run_program(export: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", block("python"), str(export)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_documented_program_verifies_an_export(export: Path) -> None:
    assert run_program(export).returncode == 0


def test_documented_program_names_a_changed_record(export: Path) -> None:
    text = export.read_text(encoding="utf-8")
    export.write_text(text.replace('"request_id":"request-3"', '"request_id":"request-9"'))
    done = run_program(export)
    assert (done.returncode, done.stderr) == (1, "Record 5 of chain a was changed.\n")


def test_documented_role_can_record_and_not_change(cluster: Cluster, postgresql_url: str) -> None:
    database = postgresql_url.partition("@/")[2].partition("?")[0]
    cluster.psql(block("sql"), database)
    url = cluster.url(database, "osteo_audit")
    write(url, an_answer(1))
    assert [document["event"] for document in stored(url)] == ["start", "answer", "stop"]
    for statement in ("DELETE FROM audit", "UPDATE audit SET hash = ''", "TRUNCATE audit"):
        with pytest.raises(AssertionError, match="permission denied for table audit"):
            cluster.psql(f"SET ROLE osteo_audit; {statement}", database)


@pytest.mark.parametrize("name", FIELD_NAMES)
def test_every_member_is_documented(name: str) -> None:
    assert f"`{name}`" in PAGE


def test_header_that_is_recorded_is_named_where_headers_are_said_to_be_left_out() -> None:
    (paragraph,) = (text for text in PAGE.split("\n\n") if "Never recorded: " in text)
    assert "headers" in paragraph
    assert "`X-Request-ID`" in paragraph
