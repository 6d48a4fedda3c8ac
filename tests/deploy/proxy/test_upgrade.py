"""Upgrade and rollback of model and program under load, without one failed request."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Final

import httpx2
import pytest

from tests.conftest import REPOSITORY
from tests.deploy.proxy.replicas import ReplicatedService
from tests.deploy.proxy.steady_load import SteadyLoad
from tests.server.ingresses import PROGRAMS

EARLIER_COMMIT: Final = "385c42f~1"
"""The last commit of release 1.0.0, which opens versions 1 to 3 of the model."""
EARLIER_VERSION: Final = "1.0.0+earlier"


@pytest.fixture(scope="module")
def earlier_program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the program of release 1.0.0, or with this one if the clone has no history.

    It gets a version that the other one does not have.
    """
    folder = tmp_path_factory.mktemp("earlier")
    git = shutil.which("git") or "false"  # without the program, as without history
    command = [git, "archive", EARLIER_COMMIT, "app"]
    archive = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode == 0:
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
            tar.extractall(folder, filter="data")
    else:
        shutil.copytree(REPOSITORY / "app", folder / "app")
    file = folder / "app" / "__init__.py"
    file.write_text(re.sub(r'"[\d.]+"$', f'"{EARLIER_VERSION}"', file.read_text(), flags=re.M))
    return folder


def programs(service: ReplicatedService) -> list[bool]:
    """Whether each replica is the earlier program."""
    documents = [
        httpx2.get(f"http://{host}:{port}/openapi.json", timeout=60).json()
        for host, port in (replica.address for replica in service.replicas)
    ]
    return [document["info"]["version"] == EARLIER_VERSION for document in documents]


@pytest.mark.parametrize(
    ("program", "versions"),
    [  # one way, and there and back again
        ("haproxy", ["3", "4"]),
        *(
            pytest.param(program, ["3", "4", "3"], marks=pytest.mark.exhaustive)
            for program in PROGRAMS
        ),
    ],
)
def test_model_is_upgraded_and_rolled_back_without_a_failed_request(
    program: str, versions: list[str], tmp_path: Path
) -> None:
    with (
        ReplicatedService(program, tmp_path, OSTEO_MODEL_VERSION=versions[0]) as service,
        SteadyLoad(service.ingress) as load,
    ):
        assert load.next_versions() == {versions[0]}
        for version in versions[1:]:
            service.replace_each(OSTEO_MODEL_VERSION=version)
            assert load.next_versions() == {version}
    assert load.failures == []


@pytest.mark.exhaustive
@pytest.mark.parametrize("program", PROGRAMS)
def test_program_is_upgraded_and_rolled_back_without_a_failed_request(
    program: str, earlier_program: Path, tmp_path: Path
) -> None:
    with ReplicatedService(
        program,
        tmp_path,
        checkout=earlier_program,
        waits_as_documented=True,
        OSTEO_MODEL_VERSION="3",
    ) as service:
        assert programs(service) == [True, True]
        with SteadyLoad(service.ingress) as load:
            assert load.next_versions() == {"3"}
            service.replace_each()
            assert programs(service) == [False, False]
            assert load.next_versions() == {"3"}
            service.replace_each(earlier_program)
            assert programs(service) == [True, True]
            assert load.next_versions() == {"3"}
    assert load.failures == []
