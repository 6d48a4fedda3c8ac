"""The pages behind the `type` of problems, and the route `/`."""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from hatchling.builders.wheel import WheelBuilder

from app.api.problem_pages import problem_pages
from app.api.problems import PROBLEM_TYPES
from tests.conftest import REPOSITORY

DOCUMENTED = (REPOSITORY / "docs" / "problems.md").read_text()


def test_type_of_every_problem_opens_what_is_documented(client: TestClient) -> None:
    documented = re.sub(r"\[([\w.-]+\.md)\]\([^)]*\)", r"`docs/\1`", DOCUMENTED)
    for code, problem_type in PROBLEM_TYPES.items():
        answer = client.get(f"/problems/{code}")
        assert answer.status_code == 200, code
        assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
        assert answer.text.startswith(f"## `{code}` ({problem_type.status})\n")
        assert "\nWhat to do: " in answer.text, code
        assert answer.text in documented
        assert answer.text.count("## `") == 1


def test_pages_are_those_of_the_problems() -> None:
    assert set(problem_pages()) == set(PROBLEM_TYPES)


def test_browser_gets_html(client: TestClient) -> None:
    accept = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"
    answer = client.get("/problems/queue-full", headers={"Accept": accept})
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["vary"] == "Accept"
    assert "<h2><code>queue-full</code> (429)</h2>" in answer.text
    assert "<code>OSTEO_MAX_TILES_IN_FLIGHT</code>" in answer.text


def test_pages_have_no_link_to_a_page_that_is_not_served(client: TestClient) -> None:
    for code in PROBLEM_TYPES:
        page = client.get(f"/problems/{code}", headers={"Accept": "text/html"}).text
        assert set(re.findall(r'href="([^"]*)"', page)) == {"/docs"}, code


@pytest.mark.parametrize("code", ["no-such-problem", "<script>", "..%2F..%2Fsecret", "x" * 3000])
def test_unknown_problem_is_a_problem(client: TestClient, code: str) -> None:
    answer = client.get(f"/problems/{code}", headers={"Accept": "text/html"})
    assert (answer.status_code, answer.json()["type"]) == (404, "/problems/not-found")
    assert "<script>" not in answer.text


def test_wheel_contains_the_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (wheel,) = WheelBuilder(os.fspath(REPOSITORY)).build(
        directory=os.fspath(tmp_path), versions=["standard"]
    )
    with zipfile.ZipFile(wheel) as archive:
        assert archive.read("app/api/problems.md").decode() == DOCUMENTED


def test_root_says_where_to_go(client: TestClient) -> None:
    answer = client.get("/")
    assert answer.status_code == 200
    where = answer.json()
    assert where["notice"].startswith("Research use only.")
    assert where["classify"] == "POST /v1/classify"
    for name in ("docs", "openapi", "models", "ready", "metrics"):
        assert client.get(where[name]).status_code == 200
