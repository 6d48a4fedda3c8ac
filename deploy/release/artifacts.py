"""Build the files of a release from a checkout: wheel, bundle, checksums."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from deploy.release.errors import ReleaseError
from deploy.release.programs import run
from deploy.release.tag import Tag

SUMS_NAME: Final = "SHA256SUMS"


def sha256_of(path: Path) -> str:
    """SHA-256 of a file in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def build_wheel(checkout: Path, tag: Tag, out: Path) -> Path:
    """Build the wheel twice, and keep it if both are the same.

    The build backend is that of the running environment, from the lock file: nothing is downloaded.

    Raises:
        ReleaseError: the build failed, or the two differ.
    """
    with tempfile.TemporaryDirectory() as again:
        first, second = (_build_wheel(checkout, tag, Path(folder)) for folder in (out, again))
        if first.read_bytes() != second.read_bytes():
            first.unlink()
            raise ReleaseError(f"Two builds of {first.name} differ, so it cannot be reproduced")
    return first


def _build_wheel(checkout: Path, tag: Tag, out: Path) -> Path:
    run(
        sys.executable,
        *("-m", "hatchling", "build", "--target", "wheel", "--directory", out),
        cwd=checkout,
        environ={"SOURCE_DATE_EPOCH": str(tag.epoch)},
    )
    (wheel,) = out.glob("*.whl")
    return wheel


def shipped_bundle(checkout: Path) -> str:
    """NAME/VERSION of the bundle in the image.

    Raises:
        ReleaseError: the Dockerfile names none.
    """
    text = (checkout / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"^ARG BUNDLE=(\S+)$", text, re.M)
    if not found:
        raise ReleaseError("The Dockerfile has no line ARG BUNDLE=NAME/VERSION")
    return found[1]


def pack_bundle(checkout: Path, tag: Tag, bundle: str, out: Path) -> Path:
    """Pack a bundle as tar, after comparing every file with the SHA-256 in its manifest.

    The paths begin with models/NAME/VERSION; the times are those of the commit.

    Raises:
        ReleaseError: a file is missing, or differs from the manifest.
    """
    folder = checkout / "models" / bundle
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    for name, file in manifest["files"].items():
        path = folder / name
        if not path.is_file() or sha256_of(path) != file["sha256"]:
            raise ReleaseError(f"{bundle}: {name} is missing, or differs from manifest.json")
    packed = out / f"{bundle.replace('/', '-')}.tar"
    run(
        *("git", "archive", "--format", "tar", "--output", packed),
        *(tag.commit, f"models/{bundle}"),
        cwd=checkout,
    )
    return packed


def write_sums(out: Path, paths: Iterable[Path]) -> Path:
    """Write `SHA256SUMS` for `sha256sum --check`."""
    sums = out / SUMS_NAME
    sums.write_text(
        "".join(f"{sha256_of(path)}  {path.name}\n" for path in sorted(paths)), encoding="utf-8"
    )
    return sums
