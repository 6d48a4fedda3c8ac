"""Fixtures of the service's tests. `FakeRuntime` keeps TensorFlow and LiteRT out of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, opener_of

REPOSITORY = Path(__file__).resolve().parent.parent
RELEASED_MODELS = REPOSITORY / "models"

# Rich reads it once, where a console is made at import: a worker of pytest-xdist would say 80.
os.environ["COLUMNS"] = "200"

MakeClient = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the developer's shell decide nothing here."""
    for name in os.environ:
        if name.startswith("OSTEO_") and name not in {"OSTEO_DATA_DIR", "OSTEO_WEIGHTS"}:
            monkeypatch.delenv(name)


@pytest.fixture
def models_dir(tmp_path: Path) -> Path:
    """A models folder with one fake bundle."""
    build_bundle(tmp_path / "models")
    return tmp_path / "models"


@pytest.fixture
def runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture
def make_client(models_dir: Path, runtime: FakeRuntime) -> Iterator[MakeClient]:
    """Start the application with settings; it is ready when the client is returned."""
    clients: list[TestClient] = []

    def make(*, wait: bool = True, **settings: object) -> TestClient:
        chosen = Settings(**{"models_dir": models_dir, **settings})  # type: ignore[arg-type] # any
        app = create_app(chosen, opener_of(runtime))
        client = TestClient(app, raise_server_exceptions=False)
        client.__enter__()
        clients.append(client)
        deadline = time.monotonic() + 10
        while wait and client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.005)
        return client

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(make_client: MakeClient) -> TestClient:
    return make_client()


@pytest.fixture(scope="session")
def real_tiles_dir() -> Path:
    """The folder of real labelled tiles; skips where there is none."""
    folder = Path(os.environ.get("OSTEO_DATA_DIR", REPOSITORY.parent / "shared" / "tcia-sample"))
    if not folder.is_dir():
        pytest.skip(f"no real tiles: set OSTEO_DATA_DIR (looked in {folder})")
    return folder
