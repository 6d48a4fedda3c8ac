"""A service that keeps slides in a folder of the module, and whose jobs nobody works on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.jobs.opening import open_queue
from tests.api.conftest import started
from tests.api.slides.forked_reading import forked_reading_processes
from tests.bundles import FakeRuntime
from tests.conftest import MakeClient


@pytest.fixture(scope="module", autouse=True)
def _forked_reading() -> Iterator[None]:
    """`tests/slides/viewing/test_readers.py` shows the processes as the service starts them."""
    with forked_reading_processes():
        yield


@pytest.fixture
def make_slide_client(make_client: MakeClient, tmp_path: Path) -> MakeClient:
    """Start a service of the test alone, with further settings."""
    return partial(make_client, state_dir=tmp_path / "state", slide_workers=0)


@pytest.fixture(scope="module")
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the service that the tests of a module share."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def module_client(
    module_runtime: FakeRuntime, built_models: Path, state_dir: Path
) -> Iterator[TestClient]:
    settings = {"state_dir": state_dir, "slide_workers": 0}
    with started(module_runtime, models_dir=built_models, **settings) as client:
        yield client


@pytest.fixture
def client(module_client: TestClient) -> Iterator[TestClient]:
    """A client of this service, which has no slides, jobs or uploads."""
    yield module_client
    app: Any = module_client.app
    slides = app.state.slides
    queue = open_queue(slides.settings)
    for job in queue.list():
        queue.cancel(job.id)
        assert queue.delete(job.id)
    queue.close()
    shutil.rmtree(slides.store.root, ignore_errors=True)
    slides.store.quota.forget()
