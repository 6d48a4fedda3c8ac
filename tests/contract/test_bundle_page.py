"""docs/bundle.md: its programs, commands and numbers, on a real tile."""

from __future__ import annotations

import ast
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml  # type: ignore[import-untyped]  # it ships no types

from app.bundle import open_bundle
from app.core.tile import decode_tile
from benchmarks import resizers
from benchmarks.resizers import WAYS
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.contract.pages import code_blocks
from tests.contract.shell import install_osteo_train, run_shell
from tests.forking import TRAINING, ForkedProcess
from training.data.drawn_tiles import draw_tile, encode_tile
from training.release.card_header import without_header
from training.reliability.predictor import Predictor

PROGRAMS, BLOCKS = (code_blocks("docs/bundle.md", language) for language in ("python", ""))
BUNDLE_DIR = RELEASED_MODELS / "osteo-mobilenetv2" / "4"
README_TILE = "Training-Set-1/set1/Case-4-C21-25306-21689.jpg"
TOLERANCES = {"tensorflow": 1e-3, "ai_edge_litert": 0.0}


def released_probabilities(tiles: Any) -> Any:
    manifest = open_bundle(BUNDLE_DIR).manifest
    with Predictor(BUNDLE_DIR / "model.tflite", manifest.temperature) as predictor:
        return predictor.probabilities(tiles)


@pytest.fixture(scope="module")
def tile() -> bytes:
    return encode_tile(draw_tile("viable_tumor", 512, 7), "JPEG")


@pytest.fixture
def folder(tmp_path: Path, tile: bytes) -> Path:
    """A folder like a checkout, in which the page's commands are typed."""
    for name in ("models", "LICENSE", "NOTICE"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    (tmp_path / "tile.jpg").write_bytes(tile)
    install_osteo_train(tmp_path)
    return tmp_path


@pytest.mark.tensorflow
@pytest.mark.parametrize("library", TOLERANCES)
def test_program_prints_the_probabilities_of_the_service(library: str, folder: Path) -> None:
    (program,) = (code for code in PROGRAMS if library in code)
    assert len([line for line in program.splitlines() if line]) <= 15
    with ForkedProcess(
        [], modules=TRAINING, code=program, cwd=folder, stdout=subprocess.PIPE
    ) as process:
        output, _ = process.communicate()
    assert process.returncode == 0
    printed = ast.literal_eval(output.decode())
    (expected,) = released_probabilities(decode_tile((folder / "tile.jpg").read_bytes())[None])
    manifest = json.loads((BUNDLE_DIR / "manifest.json").read_text())
    assert list(printed) == [label["id"] for label in manifest["labels"]]
    for found, wanted in zip(printed.values(), expected, strict=True):
        assert found == pytest.approx(float(wanted), abs=max(TOLERANCES[library], 1e-6))


SAMPLED_WAYS = tuple(WAYS)[1:2]
"""The way of the page's code; the others take longer."""


@pytest.mark.real_tiles
@pytest.mark.tensorflow
@pytest.mark.parametrize(
    "names", [SAMPLED_WAYS, pytest.param(tuple(WAYS), marks=pytest.mark.exhaustive)], ids=len
)
def test_table_of_other_resizers_is_what_is_measured(
    names: tuple[str, ...], real_tiles_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = real_tiles_dir / README_TILE
    others = sorted(set(real_tiles_dir.rglob("*.jpg")) - {first})
    monkeypatch.setattr(resizers, "WAYS", {name: WAYS[name] for name in names})
    rows = resizers.measure(BUNDLE_DIR, [first, *others])
    assert len(rows) == len(names)
    page = (REPOSITORY / "docs" / "bundle.md").read_text(encoding="utf-8")
    documented = {row[1]: row[2:5] for row in map(cells_of, page.splitlines()) if len(row) == 6}
    for row in map(cells_of, rows):
        for wanted, found in zip(documented[row[1]], row[2:5], strict=True):
            assert float(found) == pytest.approx(float(wanted), abs=2e-3)


def cells_of(row: str) -> list[str]:
    return [cell.strip() for cell in row.split("|")]


def test_commands_prepare_tiles_that_are_classified_alike(folder: Path) -> None:
    (command,) = (block for block in BLOCKS if " prepare " in block)
    assert "1 tile of 224 x 224 px" in run_shell(command, folder)
    original = (folder / "tile.jpg").read_bytes()
    prepared = (folder / "prepared" / "tile.jpg.png").read_bytes()
    tiles = np.stack([decode_tile(original), decode_tile(prepared)])
    np.testing.assert_array_equal(tiles[0], tiles[1])
    one, other = released_probabilities(tiles)
    np.testing.assert_array_equal(one, other)


def test_commands_collect_what_hugging_face_reads(folder: Path) -> None:
    (commands,) = (block for block in BLOCKS if " card " in block)
    run_shell(commands, folder)
    _, header, body = (folder / "upload" / "README.md").read_text().split("---\n", 2)
    values = yaml.safe_load(header)
    manifest = open_bundle(BUNDLE_DIR).manifest
    assert values["license"] == "apache-2.0"
    assert values["library_name"] == "litert"
    (model,) = values["model-index"]
    results = {result["dataset"]["split"]: result["metrics"] for result in model["results"]}
    assert set(results) == {"random", "slide", "patient"}
    for entry in manifest.metrics:
        accuracy, f1 = results[entry.split]
        assert accuracy["value"] == round(entry.accuracy, 4)
        assert f1["value"] == round(entry.macro_f1, 4)
        assert f"split by {entry.split}" in accuracy["name"]
    card = (BUNDLE_DIR / "model-card.md").read_text(encoding="utf-8")
    assert body.lstrip("\n") == without_header(card).lstrip("\n")
    uploaded = folder / "upload"
    assert (uploaded / "manifest.json").read_bytes() == (BUNDLE_DIR / "manifest.json").read_bytes()
    assert (uploaded / "NOTICE").is_file()
