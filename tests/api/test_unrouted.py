"""What the service says about paths and methods that no route has."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient


@pytest.mark.parametrize(
    ("path", "nearest"),
    [
        ("/v1/clasify", "POST /v1/classify"),
        ("/classify", "POST /v1/classify"),
        ("/V1/CLASSIFY/", "POST /v1/classify"),
        ("/v1/classify/batches", "POST /v1/classify/batch"),
        ("/v1/model", "GET /v1/models"),
        ("/v1/models/2/activat", "POST /v1/models/{version}/activate"),
        ("/ready", "GET /readyz"),
        ("/doc", "GET /docs"),
        ("/openapi.yaml", "GET /openapi.json"),
        ("/problems/queue-ful", "GET /problems/queue-full"),
    ],
)
def test_unknown_path_names_the_nearest_route(client: TestClient, path: str, nearest: str) -> None:
    answer = client.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (404, "/problems/not-found")
    assert problem["nearest"][0] == nearest
    assert f"Did you mean {nearest}" in problem["detail"]


@pytest.mark.parametrize("path", ["/wp-login.php", "/x" * 3000, "/%F0%9F%90%88", "/a%0d%0aX:b"])
def test_path_that_resembles_no_route_leads_to_the_list(client: TestClient, path: str) -> None:
    answer = client.get(path)
    problem = answer.json()
    assert (answer.status_code, problem["nearest"]) == (404, [])
    assert problem["detail"].endswith(" /docs lists the routes.")
    assert len(problem["detail"]) < 1000
    assert problem["detail"].isascii()
    assert "\r" not in problem["detail"]


def test_wrong_method_names_the_right_one(client: TestClient) -> None:
    answer = client.get("/v1/classify")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")
    assert answer.json()["detail"] == "/v1/classify does not support the method; use POST."
