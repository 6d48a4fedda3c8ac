"""A site and a bundle to recalibrate."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from app.bundle import find_bundle
from tests.training.release.sites import write_site

NAME = "osteo-mobilenetv2"


RELEASED = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_site(tmp_path_factory.mktemp("sites") / "site")


@pytest.fixture(scope="module")
def parent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the newest release as the only version."""
    newest = find_bundle(RELEASED, NAME)
    copy = tmp_path_factory.mktemp("copy") / "models" / NAME / newest.name
    shutil.copytree(newest, copy)
    return copy
