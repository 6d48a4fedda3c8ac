"""The commands of `python -m deploy.release`, and what docs/supply-chain.md says of them."""

from __future__ import annotations

import re
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


@pytest.mark.parametrize(
    ("command", "hash_seeds", "files"),
    [
        ("sbom", "12", ["sbom-serve.cdx.json", "sbom-gpu.cdx.json", "sbom-train.cdx.json"]),
        ("licences", "1", ["third-party-licences-serve.txt", "third-party-licences-gpu.txt"]),
    ],
)
def test_command_writes_the_same_files_each_time(
    tmp_path: Path, command: str, hash_seeds: str, files: list[str]
) -> None:
    repository = make_repository(tmp_path / "x")
    contents = []
    for hash_seed in hash_seeds:
        out = repository / "dist" / hash_seed
        done = run_command(repository, command, "--out", str(out), PYTHONHASHSEED=hash_seed)
        assert done.stdout.split() == [str(out / name) for name in files], done.stderr
        contents.append([(out / name).read_bytes() for name in files])
    assert contents[0] == contents[-1]


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
