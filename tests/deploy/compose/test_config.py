"""Docker Compose accepts its files, and images of another registry take the place of ours.

CI skips this: Debian 12 has no Compose 2. tests/contract/test_container.py reads the files.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from typing import Any

import pytest

from tests.conftest import REPOSITORY

IMAGES = ("GRAFANA_IMAGE", "PROMETHEUS_IMAGE", "ALERTMANAGER_IMAGE")


def resolved(*files: str, **environ: str) -> Any:
    """What Compose makes of the files; the test is skipped where there is no Compose."""
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "compose", "version"], check=False).returncode:
        pytest.skip("there is no Docker Compose: install docker-compose-plugin")
    named = [argument for file in files for argument in ("-f", file)]
    run = subprocess.run(
        [docker, "compose", *named, "config", "--format", "json"],
        cwd=REPOSITORY,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)["services"]


def test_compose_takes_images_of_another_registry() -> None:
    names = {name: f"registry.hospital.example/{name.lower()}:1" for name in IMAGES}
    services = resolved("docker-compose.yml", **names)
    assert {services[n.removesuffix("_IMAGE").lower()]["image"] for n in IMAGES} == {
        *names.values()
    }


def test_compose_takes_the_receivers_of_a_site(tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.mktemp("site") / "alertmanager.yml"
    services = resolved("docker-compose.yml", ALERTMANAGER_CONFIG=str(file))
    assert services["alertmanager"]["volumes"][0]["source"] == str(file)


def test_compose_merges_the_file_for_a_gpu() -> None:
    services = resolved("docker-compose.yml", "deploy/compose-gpu.yml")
    assert services["osteo"]["read_only"] is True
    assert services["osteo"]["pids_limit"] == 1024
    assert services.keys() == {"osteo", "prometheus", "alertmanager", "grafana"}
