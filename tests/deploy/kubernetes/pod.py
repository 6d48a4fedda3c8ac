"""The rendered Deployment as a pod of Podman, with its Secret and its volume of models.

Podman 4.3 runs neither probes nor preStop, and ignores terminationGracePeriodSeconds: it sends
SIGTERM at once. The test sends the probes and hands over the grace period.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx2
import yaml  # type: ignore[import-untyped] # its types are another package

from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.deploy.images import build_image
from tests.deploy.kubernetes.rendering import Objects, container_of, kustomized, only
from tests.deploy.podman import CACHE, PodmanError, podman
from tests.servers import free_port, wait_until

VERSION: Final = "3"
"""The version on the volume; the image contains a newer one."""
_POD: Final = "osteo-tiles-pod-0"
_CONTAINER: Final = f"{_POD}-osteo-tiles"
_SECRET: Final = "osteo-tiles-keys"  # the name of a Secret, not one
_VOLUMES: Final = ("osteo-tiles-models", _SECRET, "tmp")
_START_WITHIN_S: Final = 120.0


@dataclass(frozen=True, slots=True)
class Pod:
    """A running pod of the Deployment."""

    objects: Objects
    url: str
    key: str

    @property
    def grace_s(self) -> int:
        seconds: int = only(self.objects, "Deployment")["spec"]["template"]["spec"][
            "terminationGracePeriodSeconds"
        ]
        return seconds

    def get(self, path: str) -> httpx2.Response:
        return httpx2.get(f"{self.url}{path}", timeout=60)

    def is_ready(self) -> bool:
        try:
            return self.get("/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def classify(self, tile_bytes: bytes) -> httpx2.Response:
        """Classify a tile over a connection of its own."""
        return httpx2.post(
            f"{self.url}/v1/classify",
            files={"file": ("tile.png", tile_bytes, "image/png")},
            headers={"Authorization": f"Bearer {self.key}"},
            timeout=120,
        )

    def exec(self, *command: str) -> str:
        return podman("exec", _CONTAINER, *command)

    def stop(self) -> int:
        """Stop the container as the kubelet does after preStop.

        `podman pod stop` would take the network of the pod away meanwhile.

        Returns:
            The exit code of the service.
        """
        podman("stop", "--time", self.grace_s, _CONTAINER)
        return int(podman("inspect", "--format", "{{.State.ExitCode}}", _CONTAINER))


@contextmanager
def running_pod(folder: Path, overlay: str, user: int | None = None) -> Iterator[Pod]:
    """Run the Deployment of an overlay with the models on a volume; one at a time on a machine.

    Args:
        folder: an empty folder.
        overlay: name of the overlay.
        user: the user that OpenShift would assign; the Deployment's own if None.
    """
    name, _, tag = build_image("cpu").rpartition(":")
    port = free_port()
    site = {
        "images": [{"name": "osteo-tiles", "newName": name, "newTag": tag}],
        "configMapGenerator": [
            {
                "name": "osteo-tiles-settings",
                "behavior": "merge",
                "literals": [f"OSTEO_MODEL_VERSION={VERSION}"],
            }
        ],
    }
    objects = kustomized(folder, overlay, ["models"], site)
    # Podman publishes each port of a container; this one is free.
    container_of(objects)["ports"][0]["hostPort"] = port
    if user is not None:
        only(objects, "Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] = (
            user
        )
    played = [each for each in objects if each["kind"] in {"ConfigMap", "Deployment"}]
    file = folder / "played.yaml"
    file.write_text(yaml.safe_dump_all(played))
    with one_at_a_time():
        key = _make_secret(folder)
        _fill_models_volume(folder)
        podman("kube", "play", file)
        pod = Pod(objects, f"http://127.0.0.1:{port}", key)
        with suppress(AssertionError):
            wait_until(pod.is_ready, _START_WITHIN_S)
        assert pod.is_ready(), podman("logs", _CONTAINER)
        yield pod


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Remove pods and volumes before and after, whose names come from the manifests."""
    with (CACHE / "pod.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _remove()
        try:
            yield
        finally:
            _remove()


def _make_secret(folder: Path) -> str:
    """Make the Secret that the documentation asks for; returns the key in it."""
    file = folder / "keys.json"
    command = ["keys", "create", "lis", "--scope", "classify", "--file", str(file)]
    key = subprocess.run(
        [sys.executable, "-m", "app", *command],
        cwd=REPOSITORY,
        env=os.environ | {"OSTEO_AUDIT": "off"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    text = file.read_text()
    # Podman 4.3 does not decode it.
    if not podman("version", "--format", "{{.Client.Version}}").startswith("4.3."):
        text = base64.b64encode(text.encode()).decode()
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "data": {"keys.json": text}}
    manifest = folder / "secret.yaml"
    manifest.write_text(json.dumps(secret))
    podman("secret", "create", _SECRET, manifest)
    return key


def _fill_models_volume(folder: Path) -> None:
    tar_file = folder / "models.tar"
    bundle = f"osteo-mobilenetv2/{VERSION}"
    with tarfile.open(tar_file, "w") as tar:
        tar.add(RELEASED_MODELS / bundle, bundle)
    podman("volume", "create", _VOLUMES[0])
    podman("volume", "import", _VOLUMES[0], tar_file)


def _remove() -> None:
    for command in (
        *(("pod", "rm", "--force", "--time", "0", name) for name in (_POD, _VOLUMES[0])),
        *(("volume", "rm", "--force", name) for name in _VOLUMES),
        ("secret", "rm", _SECRET),
    ):
        with suppress(PodmanError):  # there is none
            podman(*command)
