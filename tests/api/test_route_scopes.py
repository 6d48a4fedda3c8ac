"""The scope of a request is that of the route that serves it, however its path is written."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from app.api.route_scopes import required_scope
from tests.api.routes import every_route


@pytest.mark.parametrize("end", ["", "\n"])
def test_required_scope_is_that_of_the_route_that_serves_the_path(
    client: TestClient, end: str
) -> None:
    for method, path in every_route(client):
        served = path.replace("{version}", "1").replace("{code}", "x")
        assert required_scope(method, served + end) is required_scope(method, served), served
