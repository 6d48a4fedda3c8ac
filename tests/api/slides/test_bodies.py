"""JSON bodies of the routes of slides: too large, too deep, or with values of another type."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.slide_json import MAX_JSON_BYTES

JSON = {"Content-Type": "application/json"}
ROUTES = ("/v1/slides", f"/v1/slides/{'a' * 64}/jobs", "/v1/specimens")


def code_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize("how", ["announced", "in pieces", "compressed"])
def test_json_body_over_the_limit_is_refused(client: TestClient, path: str, how: str) -> None:
    body: Any = b" " * (MAX_JSON_BYTES + 1)
    headers = dict(JSON)
    if how == "in pieces":
        body = iter([body[:1000], body[1000:]])
    if how == "compressed":
        body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
    answer = client.post(path, content=body, headers=headers)
    assert (answer.status_code, code_of(answer)) == (413, "body-too-large")
    assert answer.json()["limit_bytes"] == MAX_JSON_BYTES


def test_endless_json_body_is_not_read_to_its_end(client: TestClient) -> None:
    n_sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal n_sent
        while n_sent < 100:
            n_sent += 1
            yield b" " * MAX_JSON_BYTES

    answer = client.post("/v1/slides", content=pieces(), headers=JSON)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ROUTES)
def test_json_body_of_the_limit_is_parsed(client: TestClient, path: str) -> None:
    body = b'{"unknown": 1}'.ljust(MAX_JSON_BYTES)
    answer = client.post(path, content=body, headers=JSON)
    assert (answer.status_code, code_of(answer)) == (422, "invalid-request")
    assert "unknown" in answer.json()["detail"]


@pytest.mark.parametrize("path", ROUTES)
@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"[" * 60_000, "nested too deeply"),
        (b'{"mpp": ' + b"1" * 5000 + b"}", "too many digits"),
        (b'{"upload": "\xff"}', "UTF-8"),
    ],
)
def test_json_that_python_cannot_parse_is_malformed(
    client: TestClient, path: str, body: bytes, reason: str
) -> None:
    answer = client.post(path, content=body, headers=JSON)
    assert (answer.status_code, code_of(answer)) == (400, "malformed-request")
    assert reason in answer.json()["detail"]


def test_body_that_is_no_json_says_where(client: TestClient) -> None:
    answer = client.post("/v1/slides", content=b'{"upload"', headers=JSON)
    assert (answer.status_code, code_of(answer)) == (422, "invalid-request")


@pytest.mark.parametrize(
    "body", [{"min_tissue_share": True}, {"min_tissue_share": "0.5"}, {"mpp": True}]
)
def test_value_that_is_no_number_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post(ROUTES[1], json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid-request")


def test_whole_number_is_a_number(client: TestClient) -> None:
    answer = client.post(ROUTES[1], json={"min_tissue_share": 1, "mpp": 1})
    assert code_of(answer) == "slide-not-found"
