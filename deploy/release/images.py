"""Build an image with podman or docker, look into it and save it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.release import inventory
from deploy.release.errors import ReleaseError
from deploy.release.inventory import Inventory
from deploy.release.programs import find, run

ENGINES: Final = ("podman", "docker")
TARGETS: Final = {"cpu": "serve", "gpu": "gpu"}
"""Targets of the Dockerfile, and the lock file of each."""
_LABEL: Final = "org.opencontainers.image."
_HARDENED: Final = (
    *("--rm", "--interactive", "--no-healthcheck", "--network", "none", "--read-only"),
    *("--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
)


def find_engine() -> str | None:
    """The first of podman and docker that is installed; None if neither is."""
    for engine in ENGINES:
        try:
            find(engine)
        except ReleaseError:
            continue
        return engine
    return None


@dataclass(frozen=True, slots=True)
class Image:
    """An image in the storage of podman or docker.

    Attributes:
        engine: `podman` or `docker`.
        name: such as `osteo-tiles:1.2.0-cpu`.
    """

    engine: str
    name: str

    def build(
        self, checkout: Path, target: str, arguments: Mapping[str, str], options: Sequence[str]
    ) -> None:
        """Build a target of a checkout's Dockerfile.

        Args:
            checkout: the build context.
            target: of the Dockerfile.
            arguments: values of the Dockerfile's `ARG`.
            options: of the engine, such as `--pull=never`.

        Raises:
            ReleaseError: the build failed.
        """
        given = [
            part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")
        ]
        # HEALTHCHECK is part of Docker's image format only.
        kind = ("--format", "docker") if self.engine == "podman" else ()
        file = ("--file", checkout / "Dockerfile", "--target", target, "--tag", self.name)
        run(self.engine, "build", *kind, *file, *given, *options, checkout)

    def inspect(self) -> dict[str, Any]:
        """What the engine knows about the image.

        Raises:
            ReleaseError: there is no such image.
        """
        (found,) = json.loads(run(self.engine, "image", "inspect", self.name))
        return dict(found)

    def check_labels(self, expected: Mapping[str, str]) -> None:
        """Check OCI labels, which are given without `org.opencontainers.image.`.

        Raises:
            ReleaseError: one differs.
        """
        labels = self.inspect()["Config"].get("Labels") or {}
        for name, value in expected.items():
            if labels.get(_LABEL + name) != value:
                raise ReleaseError(
                    f"{self.name}: the label {_LABEL}{name} is {labels.get(_LABEL + name)!r}, "
                    f"not {value!r}"
                )

    def check_model(self) -> str:
        """Run `osteo doctor` in it, without network and on a read-only root; return what it says.

        Raises:
            ReleaseError: a check of the installation, the bundle or its golden tiles failed.
        """
        return run(self.engine, "run", *_HARDENED, "--tmpfs", "/tmp", self.name, "doctor")  # noqa: S108 # in the image

    def read_inventory(self) -> Inventory:
        """List what the image contains, with its own Python.

        Raises:
            ReleaseError: its Python cannot be run.
        """
        program = Path(inventory.__file__).read_bytes()
        options = (*_HARDENED, "--entrypoint", "python", self.name, "-")
        return Inventory.from_json(run(self.engine, "run", *options, given=program))

    def save(self, path: Path) -> None:
        """Write a tar that `podman load` and `docker load` read."""
        run(self.engine, "save", "--output", path, self.name)

    def digest_of_base(self) -> str | None:
        """SHA-256 of the base image's manifest, if the engine knows it; it knows pulled images."""
        base = self.inspect()["Config"]["Labels"][f"{_LABEL}base.name"]
        try:
            digests = Image(self.engine, base).inspect().get("RepoDigests") or []
        except ReleaseError:
            return None
        return next((d.rpartition("@sha256:")[2] for d in digests if "@sha256:" in d), None)
