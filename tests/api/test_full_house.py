from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.api.full_house import TILE_PATHS
from tests.bundles import plain_tile
from tests.conftest import MakeClient

TILE = plain_tile((200, 120, 160))


def test_tile_paths_are_the_routes_that_can_find_the_queue_full(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    refusing = {
        path for path, item in paths.items() if "429" in item.get("post", {}).get("responses", {})
    }
    assert refusing == TILE_PATHS


@pytest.mark.parametrize("path", sorted(TILE_PATHS))
def test_a_full_queue_is_counted_under_its_route(make_client: MakeClient, path: str) -> None:
    client = make_client(max_tiles_in_flight=2, max_request_tiles=2)
    service = client.app.state.service  # type: ignore[attr-defined] # a FastAPI application
    with service.admission.admit(2):
        answer = client.post(path, content=TILE, headers={"X-Request-ID": "mine"})
        assert client.get("/livez").status_code == 200
        assert client.get("/v1/models").status_code == 200
    assert (answer.status_code, answer.json()["request_id"]) == (429, "mine")
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["X-Request-ID"] == "mine"
    metrics = client.get("/metrics").text
    assert f'osteo_requests_total{{route="{path}",status="429"}} 1.0' in metrics
    assert 'osteo_request_problems_total{problem="queue-full"} 1.0' in metrics
