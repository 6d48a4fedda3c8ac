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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

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
_TRACES_SECRET: Final = "osteo-tiles-traces"
_TRACES_VARIABLES: Final = f"{_TRACES_SECRET}-variables"
_VOLUMES: Final = ("osteo-tiles-models", _SECRET, _TRACES_SECRET, "tmp")
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
def running_pod(
    folder: Path,
    overlay: str,
    user: int | None = None,
    *,
    settings: Sequence[str] = (),
    traces_secret: Mapping[str, str] | None = None,
) -> Iterator[Pod]:
    """Run the Deployment of an overlay with the models on a volume; one at a time on a machine.

    Args:
        folder: an empty folder.
        overlay: name of the overlay.
        user: the user that OpenShift would assign; the Deployment's own if None.
        settings: of the site, such as `OSTEO_LOG_LEVEL=debug`.
        traces_secret: adds the component `traces` with this Secret.
    """
    name, _, tag = build_image("cpu").rpartition(":")
    port = free_port()
    site = {
        "images": [{"name": "osteo-tiles", "newName": name, "newTag": tag}],
        "configMapGenerator": [
            {
                "name": "osteo-tiles-settings",
                "behavior": "merge",
                "literals": [f"OSTEO_MODEL_VERSION={VERSION}", *settings],
            }
        ],
    }
    components = ["models"] if traces_secret is None else ["models", "traces"]
    objects = kustomized(folder, overlay, components, site)
    # Podman publishes each port of a container; this one is free.
    container_of(objects)["ports"][0]["hostPort"] = port
    if user is not None:
        only(objects, "Deployment")["spec"]["template"]["spec"]["securityContext"]["runAsUser"] = (
            user
        )
    if traces_secret is not None:
        _adapt_traces(objects)
    played = [each for each in objects if each["kind"] in {"ConfigMap", "Deployment"}]
    file = folder / "played.yaml"
    file.write_text(yaml.safe_dump_all(played))
    with one_at_a_time():
        key = _make_key(folder)
        if traces_secret is not None:
            _make_secret(folder, _TRACES_SECRET, traces_secret)
            _make_secret(folder, _TRACES_VARIABLES, traces_secret, is_for_variables=True)
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


def _make_key(folder: Path) -> str:
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
    _make_secret(folder, _SECRET, {"keys.json": file.read_text()})
    return key


def _adapt_traces(objects: Objects) -> None:
    """Podman 4.3 leaves optional volumes out, and reads other Secrets for variables."""
    for volume in only(objects, "Deployment")["spec"]["template"]["spec"]["volumes"]:
        if volume["name"] == "traces":
            volume["secret"]["optional"] = False
    (variable,) = container_of(objects)["env"]
    variable["valueFrom"]["secretKeyRef"] |= {"name": _TRACES_VARIABLES, "optional": False}


def _make_secret(
    folder: Path, name: str, data: Mapping[str, str], *, is_for_variables: bool = False
) -> None:
    is_old = podman("version", "--format", "{{.Client.Version}}").startswith("4.3.")
    # Podman 4.3 does not decode what it mounts.
    if is_for_variables or not is_old:
        data = {key: base64.b64encode(text.encode()).decode() for key, text in data.items()}
    secret = {"apiVersion": "v1", "kind": "Secret", "data": {**data}}
    manifest = folder / "secret.yaml"
    manifest.write_text(json.dumps(data if is_for_variables and is_old else secret))
    podman("secret", "create", name, manifest)


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
        *(("secret", "rm", name) for name in (_SECRET, _TRACES_SECRET, _TRACES_VARIABLES)),
    ):
        with suppress(PodmanError):  # there is none
            podman(*command)
