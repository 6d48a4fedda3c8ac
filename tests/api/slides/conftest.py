"""A service that keeps slides in a folder of the test, and whose jobs nobody works on."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.conftest import MakeClient


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def make_slide_client(make_client: MakeClient, state_dir: Path) -> MakeClient:
    """Start a service with further settings."""
    return partial(make_client, state_dir=state_dir, slide_workers=0)


@pytest.fixture
def client(make_slide_client: MakeClient) -> TestClient:
    return make_slide_client()
