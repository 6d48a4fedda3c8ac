from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.access.opening import open_access
from app.access.rate_limits import RateLimits
from app.api.access_control import AccessControl
from app.api.auditing import Auditor
from app.api.load_shedding import TILE_PATHS, LoadShedder
from app.api.request_context import request_context
from app.serving.lifecycle import Lifecycle
from app.serving.service import TileService
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests.bundles import FakeRuntime, opener_of
from tests.described import openapi_document
from tests.queues import occupy

LIMIT_TILES = 2


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def lifecycle(models_dir: Path, metrics: Metrics, runtime: FakeRuntime) -> Lifecycle:
    return Lifecycle(Settings(models_dir=models_dir), metrics, opener_of(runtime))


@pytest.fixture
def service(lifecycle: Lifecycle, metrics: Metrics) -> TileService:
    settings = Settings(max_tiles_in_flight=LIMIT_TILES, max_request_tiles=LIMIT_TILES)
    return TileService(settings, metrics, lifecycle)


@pytest.fixture
def load_shedder(service: TileService, metrics: Metrics) -> LoadShedder:
    settings = Settings()
    access = AccessControl(open_access(settings), RateLimits({}), settings, metrics)
    return LoadShedder(service, access, Auditor(None, is_required=False), metrics)


def tile_scope() -> dict[str, Any]:
    named = {"method": "POST", "path": "/v1/classify", "query_string": b"", "scheme": "http"}
    return {**named, "headers": [], "state": {}}


def test_tile_paths_are_the_routes_that_can_answer_429() -> None:
    paths = openapi_document()["paths"]
    rejecting = {
        path
        for path, item in paths.items()
        if "`queue-full`" in str(item.get("post", {}).get("responses", {}).get("429"))
    }
    assert rejecting == TILE_PATHS


def test_request_reserves_a_place_until_it_is_released(
    lifecycle: Lifecycle, load_shedder: LoadShedder, metrics: Metrics
) -> None:
    async def scenario() -> None:
        await lifecycle.activate("1")
        scopes = [tile_scope() for _ in range(LIMIT_TILES)]
        assert [load_shedder.reserve_or_reject(scope) for scope in scopes] == [None] * LIMIT_TILES
        rejection = load_shedder.reserve_or_reject(tile_scope())
        assert rejection is not None
        assert rejection.status_code == 429
        release = request_context(scopes[0]).release_place
        assert release is not None
        release()
        assert load_shedder.reserve_or_reject(tile_scope()) is None
        await lifecycle.stop()

    asyncio.run(scenario())
    rejected = 'osteo_requests_total{route="/v1/classify",status="429"} 1.0'
    assert rejected in metrics.render().decode()


def test_request_is_not_rejected_without_a_model(
    service: TileService, load_shedder: LoadShedder
) -> None:
    scope = tile_scope()
    with occupy(service, LIMIT_TILES):
        assert load_shedder.reserve_or_reject(scope) is None
    assert request_context(scope).release_place is None


def test_one_request_starts_in_each_iteration_of_the_event_loop(load_shedder: LoadShedder) -> None:
    started: list[int] = []

    async def burst() -> None:
        for i in range(3):
            load_shedder.start_in_turn(partial(started.append, i))
        for n_iterations in range(1, 4):
            assert started == list(range(n_iterations))
            await asyncio.sleep(0)
        load_shedder.start_in_turn(partial(started.append, 3))
        assert started == [0, 1, 2, 3], "at once if none is waiting"

    asyncio.run(burst())
