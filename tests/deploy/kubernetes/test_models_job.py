"""The job that copies the model of an image to a volume, run by Podman."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path
from typing import Final

import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from app.bundle import find_bundle
from tests.conftest import RELEASED_MODELS
from tests.deploy.images import build_image
from tests.deploy.kubernetes.pod import one_at_a_time
from tests.deploy.kubernetes.rendering import KUSTOMIZE, Objects, only, parsed
from tests.deploy.kubernetes.restricted import assert_restricted
from tests.deploy.kubernetes.schemas import require_valid
from tests.deploy.kubernetes.tools import kubernetes_tool
from tests.deploy.podman import podman

_NAME: Final = "osteo-tiles-models"


def _rendered() -> Objects:
    return parsed(kubernetes_tool("kubectl", "kustomize", KUSTOMIZE / "models"))


def test_its_objects_are_valid_and_restricted() -> None:
    objects = _rendered()
    require_valid(*objects)
    assert_restricted(only(objects, "Job")["spec"]["template"]["spec"])


def test_the_component_mounts_what_the_job_fills() -> None:
    component = (KUSTOMIZE / "components" / "models" / "kustomization.yaml").read_text()
    assert (
        f"claimName: {only(_rendered(), 'PersistentVolumeClaim')['metadata']['name']}" in component
    )


def test_it_copies_missing_versions_and_touches_no_other(tmp_path: Path) -> None:
    """The folders of the pod are replaced, and the shell of this machine runs its script."""
    for version in ("old/1", "old/2", "new/1"):
        (tmp_path / "models" / version).mkdir(parents=True)
        (tmp_path / "models" / version / "manifest.json").write_text("of the image")
    (tmp_path / "target" / "old" / "1").mkdir(parents=True)
    (tmp_path / "target" / "old" / "1" / "manifest.json").write_text("released before")
    (tmp_path / "target" / ".new").mkdir()  # what an interrupted job left
    (container,) = only(_rendered(), "Job")["spec"]["template"]["spec"]["containers"]
    (script,) = container["args"]
    for folder in ("models", "target"):
        script = script.replace(f"/{folder}", str(tmp_path / folder))
    subprocess.run(["/bin/sh", "-euc", script], check=True)
    assert container["command"] == ["sh", "-euc"]
    found = {
        str(file.parent.relative_to(tmp_path / "target")): file.read_text()
        for file in (tmp_path / "target").rglob("manifest.json")
    }
    assert found == {"old/1": "released before", "old/2": "of the image", "new/1": "of the image"}


@pytest.mark.exhaustive  # builds the image, which installs all packages of the service
def test_it_copies_the_bundle_of_the_image(tmp_path: Path) -> None:
    objects = _rendered()
    pod = only(objects, "Job")["spec"]["template"]["spec"]
    pod["containers"][0]["image"] = build_image("cpu")
    # Podman 4.3 plays pods, but no jobs.
    played = [
        only(objects, "PersistentVolumeClaim"),
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": _NAME}, "spec": pod},
    ]
    file = tmp_path / "played.yaml"
    file.write_text(yaml.safe_dump_all(played))
    with one_at_a_time():
        podman("kube", "play", file)
        exit_code = podman("wait", f"{_NAME}-copy").strip()
        assert exit_code == "0", podman("logs", f"{_NAME}-copy")
        podman("volume", "export", "--output", tmp_path / "volume.tar", _NAME)
    bundle = find_bundle(RELEASED_MODELS, "osteo-mobilenetv2")
    with tarfile.open(tmp_path / "volume.tar") as tar:
        tar.extractall(tmp_path / "volume", filter="data")
    copied = tmp_path / "volume" / bundle.relative_to(RELEASED_MODELS)
    assert {each.relative_to(copied) for each in copied.rglob("*")} == {
        each.relative_to(bundle) for each in bundle.rglob("*")
    }
    assert (copied / "manifest.json").read_bytes() == (bundle / "manifest.json").read_bytes()
