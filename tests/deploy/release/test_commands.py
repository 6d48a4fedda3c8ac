"""The commands of `python -m deploy.release`, and what docs/supply-chain.md says of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from deploy.release.commands import app
from tests.conftest import REPOSITORY
from tests.deploy.release.made_repository import make_repository, run_command

PAGE = (REPOSITORY / "docs" / "supply-chain.md").read_text()
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined] # it is a group
OF_OTHERS = {"--annotate", "--check", "--input", "--timestamp", "--key", "--format", "--help"}
"""Options of git, sha256sum, docker and cosign on the page."""


SBOMS = ["sbom-serve.cdx.json", "sbom-gpu.cdx.json", "sbom-train.cdx.json"]
LICENCES = ["third-party-licences-serve.txt", "third-party-licences-gpu.txt"]


@pytest.mark.parametrize(("command", "files"), [("sbom", SBOMS), ("licences", LICENCES)])
def test_command_names_the_files_that_it_writes(
    tmp_path: Path, command: str, files: list[str]
) -> None:
    out = tmp_path / "dist"
    done = run_command(make_repository(tmp_path / "x"), command, "--out", str(out))
    assert done.stdout.split() == [str(out / name) for name in files], done.stderr
    assert sorted(file.name for file in out.iterdir()) == sorted(files)


@pytest.mark.exhaustive
def test_command_writes_the_same_files_each_time(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "x")
    for seed in "12":
        environ = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONHASHSEED": seed}
        command = [sys.executable, "-m", "deploy.release", "sbom", "--out", str(tmp_path / seed)]
        subprocess.run(command, cwd=repository, env=environ, check=True)
    for name in SBOMS:
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes()


def test_every_command_has_a_make_target_that_the_page_names() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    for name in COMMANDS:
        assert f"python -m deploy.release {name}" in makefile
        assert f"`make {name}" in PAGE


def test_every_option_of_the_page_exists() -> None:
    known = {opt for c in COMMANDS.values() for param in c.params for opt in param.opts}
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) - OF_OTHERS - {"--build-arg"}
    assert named <= known
    assert {"--skip-tests", "--allow-unaudited", "--no-image", "--signing-key"} <= named
