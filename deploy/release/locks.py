"""Read lock files: one package a line, pinned, with the SHA-256 of each file it may be."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from deploy.release.errors import ReleaseError

NAMES = ("serve", "gpu", "train")
"""Lock files of what runs outside development; dev.lock is a superset of serve and train."""
ALL_NAMES = (*NAMES, "dev")
"""Only dev.lock has the extras dicom, mlflow and ray, and what a release is built with."""


@dataclass(frozen=True, slots=True)
class Pin:
    """A locked package.

    Attributes:
        name: canonical (PEP 503).
        version: the only one that installs.
        marker: PEP 508 condition under which it installs; empty if always.
        hashes: SHA-256 in hexadecimal, one for each file that may be installed.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]

    def installs_here(self) -> bool:
        """Whether the marker holds for the running interpreter."""
        marker = Requirement(f"{self.name}; {self.marker}" if self.marker else self.name).marker
        return marker is None or marker.evaluate()


def lock_path(repository: Path, name: str) -> Path:
    """Path of a lock file, such as requirements/serve.lock."""
    return repository / "requirements" / f"{name}.lock"


def read_lock(path: Path) -> list[Pin]:
    """Read the pins of a lock file, in its order.

    Raises:
        ReleaseError: the file is missing, or a package has no version or no SHA-256.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ReleaseError(f"{path} cannot be read: {error.strerror}") from error
    lines = re.sub(r"^\s*#.*$", "", text, flags=re.M).replace("\\\n", " ").splitlines()
    return [_pin(line, path) for line in lines if line.strip()]


def read_locks(repository: Path) -> list[Pin]:
    """The pins of all lock files; a package that several have is repeated.

    Raises:
        ReleaseError: as `read_lock`.
    """
    return [pin for name in ALL_NAMES for pin in read_lock(lock_path(repository, name))]


def _pin(line: str, path: Path) -> Pin:
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})", line)
    requirement = Requirement(line.partition(" --hash")[0].strip())
    pinned = re.fullmatch(r"==([^,*]+)", str(requirement.specifier))
    if not pinned or not hashes:
        raise ReleaseError(f"{path}: {requirement.name} has no single version with a SHA-256")
    return Pin(
        name=canonicalize_name(requirement.name),
        version=pinned[1],
        marker=str(requirement.marker or ""),
        hashes=tuple(sorted(hashes)),
    )


def hashes_by_package(pins: Iterable[Pin]) -> dict[tuple[str, str], tuple[str, ...]]:
    """SHA-256 values by canonical name and version."""
    return {(pin.name, pin.version): pin.hashes for pin in pins}
