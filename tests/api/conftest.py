"""A service whose bundle has an assessment record, and whose answers a test can choose."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.bundles import FakeRuntime, build_bundle, saying
from tests.conftest import MakeClient
from tests.records import a_record, embedding_at


@pytest.fixture
def runtime() -> FakeRuntime:
    """Evidence for two labels in opposite corners; none for viable tumour."""
    runtime = FakeRuntime()
    runtime.embedding = embedding_at(0.1)
    runtime.cam[0, 0, 0] = 3.0
    runtime.cam[6, 6, 1] = 0.5
    runtime.cam[..., 2] = -1.0
    return runtime


@pytest.fixture
def assessed(make_client: MakeClient, models_dir: Path, runtime: FakeRuntime) -> TestClient:
    """A service with an assessed bundle that predicts non_tumor with high probability."""
    build_bundle(models_dir, "2", a_record())
    assessed = make_client()
    runtime.poison = saying(9.0, 1.0, 0.0)
    return assessed
