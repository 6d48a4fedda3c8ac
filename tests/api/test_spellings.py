"""Every route answers with and without a slash at its end, and every GET route answers HEAD."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.api.spellings import canonical_path
from tests.bundles import plain_tile
from tests.conftest import MakeClient
from tests.described import openapi_document

OPERATIONS = [
    (method.upper(), path.replace("{version}", "1"))
    for path, operations in openapi_document()["paths"].items()
    for method in operations
]
UNDESCRIBED = ["/", "/docs", "/openapi.json", "/problems/queue-full"]
UNDESCRIBED += ["/static-offline-docs/swagger-ui.css"]
GET_PATHS = [
    path for method, path in OPERATIONS if method == "GET" and "{" not in path
] + UNDESCRIBED


@pytest.mark.parametrize(
    ("path", "canonical"),
    [("/v1/classify/", "/v1/classify"), ("/livez//", "/livez"), ("/", "/"), ("//", "/"), ("", "/")],
)
def test_canonical_path_has_no_slash_at_its_end(path: str, canonical: str) -> None:
    assert canonical_path(path) == canonical


def test_both_spellings_answer_alike(client: TestClient) -> None:
    for method, path in OPERATIONS + [("GET", path) for path in UNDESCRIBED]:
        first = client.request(method, path, follow_redirects=False)
        for spelling in (f"{path.rstrip('/')}/", f"{path}/?x=1"):
            second = client.request(method, spelling, follow_redirects=False)
            assert first.status_code == second.status_code, spelling
            assert not second.is_redirect, spelling


def test_tile_is_classified_with_a_slash_at_the_end(make_client: MakeClient) -> None:
    client = make_client()
    answer = client.post("/v1/classify/", files={"file": ("t", plain_tile((1, 200, 1)))})
    assert answer.json()["prediction"] == "non_viable_tumor"
    answer = client.post("/v1/classify/", content=plain_tile((1, 200, 1)))
    assert answer.json()["prediction"] == "non_viable_tumor"
    metrics = client.get("/metrics").text
    assert 'osteo_requests_total{route="/v1/classify",status="200"} 2.0' in metrics


@pytest.mark.parametrize(
    "path", ["//v1//classify", "/%2F%2e%2e/", "/v1/%00/", "/x" + "/" * 999, "/%FF"]
)
def test_strange_paths_are_unknown(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert answer.status_code in {200, 404}
    assert len(answer.content) < 2000


def test_head_has_the_headers_of_get_and_no_body(client: TestClient) -> None:
    for path in GET_PATHS:
        with_body, without = client.get(path), client.head(path)
        assert (with_body.status_code, without.status_code) == (200, 200), path
        assert with_body.content
        assert without.content == b"", path
        own = {"x-request-id", "date"} | ({"content-length"} if path == "/metrics" else set())
        both = [{**answer.headers} for answer in (with_body, without)]
        assert both[0].keys() == both[1].keys(), path
        assert all(both[0][name] == both[1][name] for name in both[0].keys() - own), path


def test_head_is_counted_with_its_route(make_client: MakeClient) -> None:
    client = make_client()
    client.head("/v1/models/")
    counted = 'osteo_requests_total{route="/v1/models",status="200"} 1.0'
    assert counted in client.get("/metrics").text


def test_head_of_a_service_that_is_not_ready_is_503(make_client: MakeClient) -> None:
    client = make_client()
    client.app.state.service.begin_drain()  # type: ignore[attr-defined] # a FastAPI application
    answer = client.head("/readyz")
    assert (answer.status_code, answer.content) == (503, b"")


def test_head_of_a_route_for_post_names_post(client: TestClient) -> None:
    post_only = {path for method, path in OPERATIONS if method == "POST"} - set(GET_PATHS)
    for path in post_only:
        answer = client.head(path)
        assert (answer.status_code, answer.headers["Allow"], answer.content) == (405, "POST", b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_other_methods_of_a_get_route_name_get_and_head(client: TestClient, method: str) -> None:
    answer = client.request(method, "/livez/")
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert "GET, HEAD" in answer.json()["detail"]
