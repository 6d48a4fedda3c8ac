"""Tiles of clients that disconnect are not classified."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile

TILE = plain_tile((200, 30, 30))
SCOPE = {
    "type": "http",
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/v1/classify",
    "raw_path": b"/v1/classify",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"host", b"x")],
    "client": ("127.0.0.1", 1),
    "server": ("127.0.0.1", 8000),
}


async def wait_until_ready(app: Any) -> None:
    async with asyncio.timeout(60):
        while app.state.service.unready_reason:  # noqa: ASYNC110 - readiness has no event
            await asyncio.sleep(0.005)


async def post_and_leave(app: Any, after_s: float) -> list[int]:
    """Send a tile and disconnect after a while; returns the statuses that were sent."""
    messages = [{"type": "http.request", "body": TILE, "more_body": False}]
    statuses = []

    async def receive() -> dict[str, Any]:
        if messages:
            return messages.pop()
        await asyncio.sleep(after_s)
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await app(dict(SCOPE), receive, send)
    return statuses


def test_tile_is_not_classified_when_its_client_has_disconnected(models_dir: Path) -> None:
    runtime = FakeRuntime(n_workers=1)
    app = create_app(Settings(models_dir=models_dir), opener_of(runtime))

    async def scenario() -> tuple[list[list[int]], int]:
        async with app.router.lifespan_context(app):
            await wait_until_ready(app)
            n_before = runtime.n_tiles
            runtime.delay_s = 0.2
            statuses = await asyncio.gather(*(post_and_leave(app, 0.05) for _ in range(10)))
            assert app.state.service.n_tiles_in_flight == 0
            await asyncio.sleep(0.3)  # time in which waiting tiles would be classified
            return statuses, runtime.n_tiles - n_before

    statuses, n_computed = asyncio.run(scenario())
    assert statuses == [[499]] * 10
    assert n_computed == 1, "only the tile that had begun"


def test_connected_client_gets_its_answer(models_dir: Path) -> None:
    app = create_app(Settings(models_dir=models_dir), opener_of(FakeRuntime(n_workers=1)))

    async def scenario() -> list[int]:
        async with app.router.lifespan_context(app):
            await wait_until_ready(app)
            return await post_and_leave(app, 30)

    assert asyncio.run(scenario()) == [200]
