"""Podman with a storage and a configuration of its own, so that a developer's stay as they are."""

from __future__ import annotations

import functools
import json
import os
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "osteo-tiles" / "containers"
)
"""Images are kept here, so that only the first run of the tests builds them."""
_RUN_DIR: Final = Path(f"/run/osteo-tests-{os.geteuid()}")  # Podman allows 50 characters
_WITHIN_S: Final = 1800.0
_PACKAGES: Final = "podman runc netavark aardvark-dns iptables catatonit"


class PodmanError(Exception):
    """A command of Podman failed; the message is what it wrote."""


def podman(*arguments: object, stdin: Path | None = None) -> str:
    """Run a command of Podman and return what it wrote to standard output.

    Raises:
        PodmanError: the command failed.
    """
    with (stdin or Path(os.devnull)).open("rb") as source:
        done = subprocess.run(
            ["podman", *(str(argument) for argument in arguments)],  # noqa: S607 # found in the PATH
            env=os.environ | environment(),
            stdin=source,
            capture_output=True,
            text=True,
            timeout=_WITHIN_S,
            check=False,
        )
    if done.returncode:
        raise PodmanError(f"podman {arguments[0]}: {done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    # A container's standard error is that of `podman logs`.
    return done.stdout + (done.stderr if arguments[0] == "logs" else "")


def require_podman() -> None:
    """Skip the test where Podman cannot run a container; fail instead if it must be there (CI)."""
    reason = _why_not()
    if reason is None:
        return
    message = f"Podman cannot be used: {reason} (as root on Debian: apt-get install {_PACKAGES})"
    if os.environ.get("REQUIRE_CLIENT_TOOLS"):
        pytest.fail(message)
    pytest.skip(message)


@functools.cache
def _why_not() -> str | None:
    if os.geteuid() != 0:
        return "the tests use it as root"
    missing = [name for name in ("podman", "runc") if shutil.which(name) is None]
    if missing:
        return f"{' and '.join(missing)} not found"
    try:
        podman("info", "--format", "json")
    except PodmanError as error:
        return str(error)
    return None


@functools.cache
def environment() -> dict[str, str]:
    """Variables that name the configuration, which is written here."""
    folder = CACHE / "configuration"
    for made in (folder / "networks", CACHE / "tmp", _RUN_DIR):
        made.mkdir(parents=True, exist_ok=True)
    text = {
        "storage": "[storage]\n"
        f'driver = "overlay"\ngraphroot = "{CACHE / "storage"}"\nrunroot = "{_RUN_DIR}"\n',
        # No name is looked up elsewhere: an image is there or the test fails.
        "registries": 'unqualified-search-registries = []\nshort-name-mode = "disabled"\n',
        # crun refuses a machine with both versions of cgroups, and a root without CAP_SYS_RESOURCE
        # cannot raise the limits, as Podman does by itself.
        "containers": f"[containers]\ndefault_ulimits = {json.dumps(_limits())}\n"
        '[engine]\nruntime = "runc"\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
        f'tmp_dir = "{_RUN_DIR / "libpod"}"\n'
        f'[network]\nnetwork_backend = "netavark"\nnetwork_config_dir = "{folder / "networks"}"\n',
    }
    for name, content in text.items():
        _write(folder / f"{name}.conf", content)
    return {
        "CONTAINERS_CONF": str(folder / "containers.conf"),
        "CONTAINERS_STORAGE_CONF": str(folder / "storage.conf"),
        "CONTAINERS_REGISTRIES_CONF": str(folder / "registries.conf"),
        "TMPDIR": str(CACHE / "tmp"),
    }


def _limits() -> list[str]:
    kinds = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    hard = {name: resource.getrlimit(kind)[1] for name, kind in kinds.items()}
    most = {name: 4096 if limit < 0 else min(limit, 4096) for name, limit in hard.items()}
    return [f"{name}={limit}:{limit}" for name, limit in most.items()]


def _write(file: Path, content: str) -> None:
    """Write a file at once: another worker may be reading it."""
    part = file.with_suffix(f".{os.getpid()}")
    part.write_text(content)
    part.replace(file)
