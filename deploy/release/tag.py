"""Check that a tag can be released, and check it out."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from deploy.release.errors import ReleaseError
from deploy.release.locks import Pin
from deploy.release.programs import run

_VERSION_PLACES: Final = {
    "app/__init__.py": r'^__version__ = "(.*)"$',
    "CITATION.cff": r"^version: (.*)$",
}


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag, its commit, and the time of the commit in seconds since 1970."""

    name: str
    commit: str
    epoch: int

    @property
    def version(self) -> str:
        """The tag without its `v`."""
        return self.name.removeprefix("v")

    @property
    def created(self) -> str:
        """Time of the commit as RFC 3339 writes it."""
        time = datetime.datetime.fromtimestamp(self.epoch, tz=datetime.UTC)
        return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def read_tag(repository: Path, name: str) -> Tag:
    """Find a tag, and check that the working tree is exactly its commit.

    Raises:
        ReleaseError: it is not, there is no such tag, or its name is not `v` and a version.
    """
    if not re.fullmatch(r"v\d+\.\d+\.\d+((a|b|rc)\d+)?", name):
        raise ReleaseError(f"{name!r} is not a release tag; one looks like v1.2.0 or v1.2.0rc1")
    commit = _git(repository, "rev-parse", "--verify", "--quiet", f"refs/tags/{name}^{{commit}}")
    if not commit:
        raise ReleaseError(f"There is no tag {name}: git tag --annotate {name}")
    head = _git(repository, "rev-parse", "HEAD")
    if head != commit:
        raise ReleaseError(
            f"{name} is commit {commit[:12]}, but {head[:12]} is checked out: "
            f"git switch --detach refs/tags/{name}"  # a branch may have the same name
        )
    changes = _git(repository, "status", "--porcelain")
    if changes:
        raise ReleaseError(f"The working tree differs from {name}:\n{changes}")
    return Tag(name, commit, int(_git(repository, "show", "--no-patch", "--format=%ct", commit)))


def check_out(repository: Path, tag: Tag, folder: Path) -> None:
    """Clone the tag into a folder, without anything that is not committed."""
    run("git", "clone", "--quiet", "--shared", "--no-checkout", repository, folder)
    # The commit, because a branch may have the name of the tag.
    run("git", "switch", "--quiet", "--detach", tag.commit, cwd=folder)


def check_version(checkout: Path, tag: Tag) -> None:
    """Check that the files of a checkout have the version of its tag.

    Raises:
        ReleaseError: one of them has another, or CHANGELOG.md has no section for it.
    """
    for place, pattern in _VERSION_PLACES.items():
        found = re.search(pattern, (checkout / place).read_text(encoding="utf-8"), re.M)
        if not found or found[1] != tag.version:
            stated = found[1] if found else "none"
            raise ReleaseError(f"{place} has version {stated}, but the tag is {tag.name}")
    changelog = (checkout / "CHANGELOG.md").read_text(encoding="utf-8")
    if not re.search(rf"^## {re.escape(tag.version)}\b", changelog, re.M):
        raise ReleaseError(f"CHANGELOG.md has no section `## {tag.version}`")


def check_environment(pins: list[Pin]) -> None:
    """Check that the running environment has the versions of a lock file.

    Raises:
        ReleaseError: it differs; the message names the first packages that do.
    """
    installed = {d.name: d.version for d in importlib.metadata.distributions()}
    versions = {re.sub(r"[-_.]+", "-", name).lower(): v for name, v in installed.items()}
    wrong = [
        f"{pin.name} {versions.get(pin.name, 'not installed')}, not {pin.version}"
        for pin in pins
        if pin.installs_here() and versions.get(pin.name) != pin.version
    ]
    if wrong:
        raise ReleaseError(
            f"The environment differs from requirements/dev.lock: {'; '.join(wrong[:5])}. "
            "Run make lint, which brings .venv up to date."
        )


def _git(repository: Path, *arguments: str) -> str:
    return run("git", *arguments, cwd=repository, accepted=(0, 1)).strip()
