"""The versions that docs/support.md names are those of the lock files."""

from __future__ import annotations

import re

import pytest

from deploy.release.locks import lock_path, read_lock
from tests.conftest import REPOSITORY

PAGE = (REPOSITORY / "docs" / "support.md").read_text()


@pytest.mark.parametrize(
    ("part", "lock", "package"),
    [
        ("LiteRT", "serve", "ai-edge-litert"),
        ("TensorFlow", "gpu", "tensorflow"),
        ("CUDA", "gpu", "nvidia-cuda-runtime-cu12"),
        ("cuDNN", "gpu", "nvidia-cudnn-cu12"),
        ("OpenSlide", "serve", "openslide-bin"),
    ],
)
def test_versions_are_those_of_the_lock_file(part: str, lock: str, package: str) -> None:
    named = re.search(rf"^\| {part} \| ([\d.]+) ", PAGE, re.M)
    assert named
    (pin,) = [p for p in read_lock(lock_path(REPOSITORY, lock)) if p.name == package]
    assert pin.version.startswith(named[1])


def test_pythons_are_those_that_may_install() -> None:
    text = (REPOSITORY / "pyproject.toml").read_text()
    assert 'requires-python = ">=3.11,<3.14"' in text
    assert "| Python | 3.11 |" in PAGE
    assert "| Python | 3.12, 3.13 |" in PAGE


def test_grafana_is_that_of_compose() -> None:
    named = re.search(r"^\| Grafana \| ([\d.]+) ", PAGE, re.M)
    assert named
    compose = (REPOSITORY / "docker-compose.yml").read_text()
    assert f"grafana/grafana:{named[1]}." in compose
