"""Services that the tests of a module share; a test that changes its service makes its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from app.main import create_app
from app.settings import Settings
from tests.bundles import FakeRuntime, build_bundle, opener_of, saying
from tests.conftest import REQUEST_TIMEOUT_S
from tests.records import a_record, embedding_at
from tests.servers import wait_until


@pytest.fixture(scope="module")
def module_runtime() -> FakeRuntime:
    return FakeRuntime()


@pytest.fixture(autouse=True)
def runtime(module_runtime: FakeRuntime) -> Iterator[FakeRuntime]:
    """Has evidence for two labels in opposite corners; none for viable tumour."""
    module_runtime.embedding = embedding_at(0.1)
    module_runtime.cam[0, 0, 0] = 3.0
    module_runtime.cam[6, 6, 1] = 0.5
    module_runtime.cam[..., 2] = -1.0
    yield module_runtime
    # As new, also for a service of the module that starts before the next test.
    vars(module_runtime).update(vars(FakeRuntime()))


@contextmanager
def started(runtime: FakeRuntime, **settings: object) -> Iterator[TestClient]:
    """A client of a service that is ready."""
    defaults = {"request_timeout_s": REQUEST_TIMEOUT_S}
    chosen = Settings(**{**defaults, **settings})  # type: ignore[arg-type] # any setting
    app = create_app(chosen, opener_of(runtime))
    with TestClient(app, raise_server_exceptions=False) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200)
        yield client


@pytest.fixture(scope="module")
def client(
    module_runtime: FakeRuntime, tmp_path_factory: pytest.TempPathFactory, built_models: Path
) -> Iterator[TestClient]:
    """A client of a service with the default settings."""
    state_dir = tmp_path_factory.mktemp("state")
    with started(module_runtime, models_dir=built_models, state_dir=state_dir) as client:
        yield client


@pytest.fixture(scope="module")
def module_assessed(
    module_runtime: FakeRuntime, tmp_path_factory: pytest.TempPathFactory, built_models: Path
) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("assessed")
    models_dir = shutil.copytree(built_models, folder / "models")
    build_bundle(models_dir, "2", a_record())
    with started(module_runtime, models_dir=models_dir, state_dir=folder) as client:
        yield client


@pytest.fixture
def assessed(module_assessed: TestClient, runtime: FakeRuntime) -> TestClient:
    """A client of a service with an assessed bundle that predicts non_tumor."""
    runtime.poison = saying(9.0, 1.0, 0.0)
    return module_assessed
