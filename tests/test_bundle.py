from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from app.bundle import check_golden_tiles, find_bundle, open_bundle, read_golden_tiles
from app.core.errors import (
    BundleNotFoundError,
    ChecksumError,
    GoldenTileError,
    InferenceError,
    ManifestError,
)
from app.core.manifest import GOLDEN_NAME, LITERT_NAME, MANIFEST_NAME
from tests.bundles import MODEL_NAME, FakeRuntime, build_bundle


def test_newest_version_is_found_by_number(tmp_path: Path) -> None:
    for version in ("1", "9", "10"):
        build_bundle(tmp_path, version)
    (tmp_path / MODEL_NAME / ".11").mkdir()
    assert find_bundle(tmp_path, MODEL_NAME).name == "10"
    assert find_bundle(tmp_path, MODEL_NAME, "9").name == "9"


def test_missing_model_or_version_is_named(models_dir: Path) -> None:
    with pytest.raises(BundleNotFoundError, match="other"):
        find_bundle(models_dir, "other")
    with pytest.raises(BundleNotFoundError, match="7"):
        find_bundle(models_dir, MODEL_NAME, "7")


def test_flipped_byte_is_rejected(models_dir: Path) -> None:
    file = models_dir / MODEL_NAME / "1" / LITERT_NAME
    file.write_bytes(file.read_bytes()[:-1] + b"X")
    with pytest.raises(ChecksumError, match=LITERT_NAME):
        open_bundle(file.parent)


def test_missing_file_is_rejected(models_dir: Path) -> None:
    file = models_dir / MODEL_NAME / "1" / LITERT_NAME
    file.unlink()
    with pytest.raises(ChecksumError, match="is missing"):
        open_bundle(file.parent)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_manifest_cannot_reach_outside_the_bundle(models_dir: Path, name: str) -> None:
    path = models_dir / MODEL_NAME / "1" / MANIFEST_NAME
    document = json.loads(path.read_text())
    document["files"][name] = {"sha256": "0" * 64, "n_bytes": 1}
    path.write_text(json.dumps(document))
    with pytest.raises(ManifestError, match="outside"):
        open_bundle(path.parent)


def test_golden_tiles_agree_with_the_runtime_that_made_them(models_dir: Path) -> None:
    bundle = open_bundle(models_dir / MODEL_NAME / "1")
    (golden,) = read_golden_tiles(bundle)
    assert golden.tile.shape == (224, 224, 3)
    assert check_golden_tiles(bundle, lambda tiles: FakeRuntime().infer(tiles).logits) < 1e-6


@pytest.mark.parametrize("error", [0.002, np.nan])
def test_differing_golden_logits_are_rejected(models_dir: Path, error: float) -> None:
    bundle = open_bundle(models_dir / MODEL_NAME / "1")
    with pytest.raises(GoldenTileError, match=r"pink\.png"):
        check_golden_tiles(bundle, lambda tiles: FakeRuntime().infer(tiles).logits + error)


def test_bundle_without_golden_tiles_is_rejected(models_dir: Path) -> None:
    bundle = open_bundle(models_dir / MODEL_NAME / "1")
    (bundle.path / GOLDEN_NAME / "expected.json").write_text('{"logits": {}}')
    with pytest.raises(InferenceError):
        check_golden_tiles(bundle, lambda tiles: FakeRuntime().infer(tiles).logits)


def test_copied_folder_is_rejected(models_dir: Path) -> None:
    (models_dir / MODEL_NAME / "1").rename(models_dir / MODEL_NAME / "2")
    with pytest.raises(ManifestError, match="not to this folder"):
        open_bundle(models_dir / MODEL_NAME / "2")


@pytest.mark.parametrize("content", ["", "[]", '{"logits_int8": {}}'])
def test_bundle_without_expected_logits_is_rejected(models_dir: Path, content: str) -> None:
    bundle = open_bundle(models_dir / MODEL_NAME / "1")
    (bundle.path / GOLDEN_NAME / "expected.json").write_text(content)
    with pytest.raises(ManifestError):
        list(read_golden_tiles(bundle))
