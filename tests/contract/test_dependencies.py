"""A dependency given to the application, such as authentication, runs on every route."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient
from fastapi_offline import FastAPIOffline

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile


def deny() -> None:
    raise HTTPException(401)


def give_to_application(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "app.main.FastAPIOffline", partial(FastAPIOffline, dependencies=[Depends(deny)])
    )


def give_to_routers(monkeypatch: pytest.MonkeyPatch) -> None:
    include_router = FastAPI.include_router

    def include_denied(self: FastAPI, router: APIRouter) -> None:
        include_router(self, router, dependencies=[Depends(deny)])

    monkeypatch.setattr(FastAPI, "include_router", include_denied)


@pytest.mark.parametrize("give", [give_to_application, give_to_routers])
def test_dependency_runs_on_every_route(
    models_dir: Path,
    runtime: FakeRuntime,
    monkeypatch: pytest.MonkeyPatch,
    give: Callable[[pytest.MonkeyPatch], None],
) -> None:
    give(monkeypatch)
    app = create_app(Settings(models_dir=models_dir), opener_of(runtime))
    client = TestClient(app)
    paths = app.openapi()["paths"]
    assert {"/v1/classify", "/v1/classify/batch", "/v1/explain"} < set(paths)
    for path, operations in paths.items():
        for method in operations:
            content = plain_tile((200, 30, 30)) if method == "post" else None
            place = re.sub(r"\{[a-z_]+\}", "1", path)
            for query in ("", "?unknown=1"):
                answer = client.request(method, place + query, content=content)
                assert answer.status_code == 401, (method, path, query)
