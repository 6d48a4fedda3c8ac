"""`make release` builds, checks, describes and saves an image; Podman is real, the image small."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from deploy.release.errors import ReleaseError
from deploy.release.release import Options, Release
from tests.deploy.base_image import base_image
from tests.deploy.podman import environment, podman, require_podman
from tests.deploy.release.made_repository import BUNDLE, TAG, git, make_repository

pytestmark = pytest.mark.exhaustive

_NAME: Final = "localhost/osteo-tiles:1.2.0-cpu"
_DOCKERFILE: Final = f"""\
ARG CPU_BASE
FROM ${{CPU_BASE}} AS cpu
ARG BUNDLE={BUNDLE}
COPY models/${{BUNDLE}} /models/${{BUNDLE}}
COPY doctor.py /
ENTRYPOINT ["python", "/doctor.py"]
ARG CPU_BASE
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.version="${{VERSION}}" \\
      org.opencontainers.image.revision="${{REVISION}}" \\
      org.opencontainers.image.created="${{CREATED}}" \\
      org.opencontainers.image.base.name="${{CPU_BASE}}"
"""


@pytest.fixture(autouse=True)
def _storage(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the release use the storage of the tests, and remove its image from there."""
    require_podman()
    for variable, value in environment().items():
        monkeypatch.setenv(variable, value)
    yield
    podman("image", "rm", "--ignore", _NAME)


def release(folder: Path, doctor: str) -> Path:
    """Release a repository whose image runs `doctor` as its program; return the files' folder."""
    files = {"Dockerfile": _DOCKERFILE, "doctor.py": doctor}
    repository = make_repository(folder / "repository", **files)
    options = Options(
        skip_tests=True,
        allow_unaudited=True,
        osv_url="http://127.0.0.1:9/v1/query",  # nothing listens
        build_args={"CPU_BASE": base_image()},
        build_options=("--pull=never", "--isolation=chroot", "--network=host"),
        source_url="https://git.example/osteo-tiles",
    )
    Release(repository, TAG, folder / "out", options).run(lambda _: None)
    return folder / "out"


def test_release_has_an_image_that_can_be_loaded(tmp_path: Path) -> None:
    out = release(tmp_path, "import sys; assert sys.argv[1:] == ['doctor']")
    image_id = podman("image", "inspect", "--format", "{{.Id}}", _NAME).strip()
    podman("image", "rm", _NAME)
    assert _NAME in podman("load", "--input", out / "osteo-tiles-1.2.0-cpu.tar")
    (loaded,) = json.loads(podman("image", "inspect", _NAME))
    assert loaded["Id"] == image_id
    labels = {k.rpartition(".")[2]: v for k, v in loaded["Config"]["Labels"].items()}
    commit = git(tmp_path / "repository", "rev-parse", TAG)
    assert (labels["version"], labels["revision"]) == ("1.2.0", commit)
    assert labels["source"] == "https://git.example/osteo-tiles"


def test_provenance_and_checksums_name_the_image_and_its_base(tmp_path: Path) -> None:
    out = release(tmp_path, "")
    build = json.loads((out / "provenance.json").read_text())["predicate"]["buildDefinition"]
    (made,) = json.loads(podman("image", "inspect", _NAME))
    assert build["internalParameters"]["images"] == {"cpu": made["Id"]}
    (base,) = json.loads(podman("image", "inspect", base_image()))
    inputs = {one["name"]: one["digest"] for one in build["resolvedDependencies"]}
    digest = base["RepoDigests"][0].rpartition("sha256:")[2]
    assert inputs["base image of cpu"] == {"sha256": digest}
    listed = {line.split()[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
    assert {"osteo-tiles-1.2.0-cpu.tar", "sbom-image-cpu.cdx.json"} <= listed
    sbom = json.loads((out / "sbom-image-cpu.cdx.json").read_text())
    assert BUNDLE.split("/")[0] in {one["name"] for one in sbom["components"]}


def test_an_image_whose_doctor_fails_is_not_released(tmp_path: Path) -> None:
    with pytest.raises(ReleaseError, match="golden tiles differ"):
        release(tmp_path, "raise SystemExit('golden tiles differ')")
    assert not (tmp_path / "out" / "SHA256SUMS").exists()
