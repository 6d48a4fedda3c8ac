"""`osteo-train dataset fetch`, as tests run it."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from tests.training.collection.mirrors import Mirror
from training.cli import app

TILES = [f"Training-Set-1/set1/Case-4-C{i}-100-200.jpg" for i in range(3)]


def fetch(mirror: Mirror, folder: Path, *more: object) -> Result:
    arguments = ["dataset", "fetch", "--url", mirror.url, "--data-dir", folder, *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def assert_all_right(mirror: Mirror, folder: Path) -> None:
    for path in ["features.csv", *TILES]:
        assert (folder / path).read_bytes() == mirror.files[path], path
    assert not list(folder.rglob("*.part*"))


def words(result: Result) -> str:
    return " ".join(result.output.split())
