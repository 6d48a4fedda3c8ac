"""A repository that is small enough to be released within a second, with a tag."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import subprocess
from pathlib import Path
from typing import Final

from tests.deploy.forked import run_forked

TAG: Final = "v1.2.0"
BUNDLE: Final = "osteo-mobilenetv2/4"
_RUN_RELEASE: Final = (
    "import runpy; runpy.run_module('deploy.release', run_name='__main__', alter_sys=True)"
)
_TIME: Final = "2026-01-02T03:04:05+00:00"
_PYPROJECT: Final = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
[project]
name = "osteo-tiles"
dynamic = ["version"]
[tool.hatch.version]
path = "app/__init__.py"
[tool.hatch.build.targets.wheel]
packages = ["app"]
"""
_MAKEFILE: Final = """\
lint test test-exhaustive attack: $(VENV)/dev.stamp
\t@test ! -e broken-$@
$(VENV)/dev.stamp: requirements/dev.lock
\t@echo "the environment must not be installed again"; false
"""


def lock(*packages: str) -> str:
    """A lock file with the installed versions of packages, and made-up SHA-256 values."""
    return "".join(
        f"{name}=={importlib.metadata.version(name)} \\\n"
        f"    --hash=sha256:{hashlib.sha256(name.encode()).hexdigest()}\n"
        for name in packages
    )


def make_repository(folder: Path, version: str = "1.2.0", **files: str) -> Path:
    """Make a repository with one commit and the tag v1.2.0.

    Args:
        folder: is created.
        version: in the files.
        files: contents of further files, by name.
    """
    manifest = {
        "intended_use": "Research use only.",
        "data": {"name": "Tiles", "licence": "CC BY 3.0", "citation": "Leavey P. et al. (2019)"},
        "weights": {"name": "MobileNetV2", "licence": "Apache-2.0"},
        "files": {"model.tflite": {"sha256": hashlib.sha256(b"model").hexdigest()}},
    }
    contents = {
        ".gitignore": "__pycache__/\ndist/\n",
        "pyproject.toml": _PYPROJECT,
        "Makefile": _MAKEFILE,
        "Dockerfile": f"FROM scratch AS cpu\nARG BUNDLE={BUNDLE}\n",
        "CHANGELOG.md": f"# Changelog\n\n## {version}\n\n- Something.\n",
        "CITATION.cff": f"version: {version}\n",
        "app/__init__.py": f'__version__ = "{version}"\n',
        f"models/{BUNDLE}/manifest.json": json.dumps(manifest),
        f"models/{BUNDLE}/model.tflite": "model",
        **{f"requirements/{name}.lock": lock("idna", "psycopg") for name in ("serve", "gpu")},
        **{f"requirements/{name}.lock": lock("idna", "packaging") for name in ("train", "dev")},
        **files,
    }
    for name, content in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    git(folder, "init", "--quiet")
    commit(folder)
    git(folder, "tag", TAG)
    return folder


def commit(folder: Path) -> None:
    """Commit everything, at a fixed time."""
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", "Release")


def git(folder: Path, *arguments: str) -> str:
    """Run git as a made-up author, without the configuration of the developer."""
    who = {"NAME": "A", "EMAIL": "a@example.org", "DATE": _TIME}
    environ = {f"GIT_{r}_{k}": v for r in ("AUTHOR", "COMMITTER") for k, v in who.items()}
    environ |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(
        ["git", *arguments],  # noqa: S607 # found in the PATH
        cwd=folder,
        env={**os.environ, **environ},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def run_command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m deploy.release` in a repository, forked."""
    return run_forked(_RUN_RELEASE, *arguments, cwd=folder)
