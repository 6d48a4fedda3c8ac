"""The header X-Request-ID over the whole application."""

from __future__ import annotations

import logging
import re

import pytest
from fastapi.testclient import TestClient

from tests.bundles import plain_tile

ROUTES = [("GET", "/livez"), ("GET", "/v1/models"), ("POST", "/v1/classify"), ("GET", "/nowhere")]


@pytest.mark.parametrize("given", ["ORDER 4711/2", "x" * 128, 'quote"', "{'%$#@!~}"])
def test_request_id_comes_back_and_is_logged(
    client: TestClient, given: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        answer = client.post(
            "/v1/classify", content=plain_tile((1, 200, 1)), headers={"X-Request-ID": given}
        )
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == given
    assert [vars(line)["request_id"] for line in caplog.records if line.msg == "request"] == [given]


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize("given", [b"", b"x" * 129, "Müller".encode(), b"\x01"])
def test_any_other_request_id_is_refused_on_every_route(
    client: TestClient, method: str, path: str, given: bytes
) -> None:
    answer = client.request(method, path, headers=[(b"X-Request-ID", given)])
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (400, "/problems/invalid-request-id")
    assert problem["pattern"] == "^[ -~]{1,128}$"
    assert problem["request_id"] == answer.headers["X-Request-ID"]
    assert re.fullmatch(r"[0-9a-f]{32}", problem["request_id"])


def test_several_request_ids_are_refused(client: TestClient) -> None:
    twice = [("X-Request-ID", "a"), ("X-Request-ID", "b")]
    answer = client.get("/livez", headers=twice)
    assert answer.status_code == 400
    assert "came 2 times" in answer.json()["detail"]
