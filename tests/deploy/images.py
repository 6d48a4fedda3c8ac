"""Images of the project, built by its own Dockerfile on a base that needs no registry."""

from __future__ import annotations

import ast
import fcntl
import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.conftest import REPOSITORY
from tests.deploy.base_image import base_image
from tests.deploy.podman import CACHE, podman, require_podman

_IGNORED_BY_PIP: Final = ("debug", "help", "list")


@functools.cache
def build_image(target: str = "cpu") -> str:
    """Build a target of the Dockerfile; the test is skipped where Podman cannot be used.

    Layers are kept, so a second build takes seconds. The packages of the lock file come from where
    pip on this machine finds them.

    Returns:
        The name of the image, such as `localhost/osteo-tiles:test-cpu`.
    """
    require_podman()
    name = f"localhost/osteo-tiles:test-{target}"
    with (CACHE / "build.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be building
        base = base_image()
        podman(
            "build",
            *("--target", target, "--tag", name),
            *("--build-arg", f"CPU_BASE={base}", "--build-arg", f"GPU_BASE={base}"),
            *("--pull=never", "--layers", "--format=docker"),
            # Needs no network of its own and no cgroups.
            *("--isolation=chroot", "--network=host"),
            *_pip_volumes(),
            REPOSITORY,
        )
        # Each change of the code leaves a few hundred megabytes.
        podman("image", "prune", "--force", "--filter", "until=24h")
    return name


def _pip_volumes() -> list[str]:
    """Lend the RUN steps pip's configuration and the local files in it.

    The image contains empty folders and files where they were mounted, and nothing else of them.
    """
    listed = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    options = {}
    for key, value in re.findall(r"^(?:global|:env:)\.([a-z-]+)=(.*)$", listed, re.M):
        if key not in _IGNORED_BY_PIP:
            options[key] = str(ast.literal_eval(value))
    file = CACHE / "pip.conf"
    lines = [f"{key} = {' '.join(value.split())}" for key, value in options.items()]
    file.write_text("\n".join(["[global]", *lines, ""]))
    volumes = {file: "/etc/pip.conf"}
    for word in " ".join(options.values()).split():
        path = Path(word.removeprefix("file://"))
        if path.is_absolute() and path.exists():
            volumes[path] = str(path)
            # An index of links to files beside it.
            if path.name == "simple":
                volumes[path.parent] = str(path.parent)
    return [f"--volume={source}:{target}:ro" for source, target in volumes.items()]
