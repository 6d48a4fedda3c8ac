"""An image says what it is, and its own Python lists what is in it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.release.documents import write_image_documents
from deploy.release.errors import ReleaseError
from deploy.release.images import TARGETS, Image
from deploy.release.locks import lock_path, read_lock
from tests.conftest import REPOSITORY
from tests.deploy.images import build_image
from tests.deploy.podman import environment

LABELS = ("title", "description", "licenses", "vendor", "version", "revision", "created")


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    """The cpu image, in the storage of the tests; tests that build it are exhaustive."""
    name = build_image("cpu")
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in environment().items():
            patch.setenv(variable, value)
        yield Image("podman", name)


@pytest.mark.parametrize("target", TARGETS)
def test_every_target_has_the_labels(target: str) -> None:
    text = (REPOSITORY / "Dockerfile").read_text()
    (stage,) = re.findall(rf"^FROM \S+ AS {target}\n(.*?)(?=^FROM|\Z)", text, re.M | re.S)
    for label in (*LABELS, "base.name"):
        assert f'org.opencontainers.image.{label}="' in stage
    for argument in ("VERSION", "REVISION", "CREATED"):
        assert f"ARG {argument}=" in stage


@pytest.mark.exhaustive
def test_check_labels_refuses_another_version(image: Image) -> None:
    image.check_labels({"version": "unreleased", "licenses": "Apache-2.0"})
    with pytest.raises(ReleaseError, match=r"image\.version is 'unreleased', not '1\.2\.0'"):
        image.check_labels({"version": "1.2.0"})


@pytest.mark.exhaustive
def test_check_model_runs_the_golden_tiles(image: Image) -> None:
    assert "ok   litert: golden tiles" in image.check_model()


@pytest.mark.exhaustive
def test_image_documents_describe_the_image(image: Image, tmp_path: Path) -> None:
    pins = read_lock(lock_path(REPOSITORY, "serve"))
    sbom, notices = write_image_documents(image, "cpu", pins, "1.2.0", 0, tmp_path)
    components = {c["name"]: c for c in json.loads(sbom.read_text())["components"]}
    assert components["fastapi"]["externalReferences"][0]["hashes"]
    assert components["osteo-mobilenetv2"]["version"] == "4"
    assert "pip" not in components  # uninstalled by the Dockerfile
    assert "GNU LESSER GENERAL PUBLIC LICENSE" in notices.read_text()
