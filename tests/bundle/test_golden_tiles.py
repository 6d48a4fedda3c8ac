from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import check_golden_tiles, open_bundle, read_golden_tiles, unchecked_parts
from app.core.bundle_errors import GoldenTileError, ManifestError
from app.core.errors import InferenceError
from app.core.manifest import GOLDEN_NAME
from tests.bundle.sealing import complete_golden_record, seal, write_expected
from tests.bundles import LABELS, MODEL_NAME, FakeRuntime
from tests.conftest import RELEASED_MODELS


def infer(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
    return FakeRuntime().infer(tiles).logits


@pytest.fixture
def root(models_dir: Path) -> Path:
    return models_dir / MODEL_NAME / "1"


def test_golden_tiles_agree_with_the_runtime_that_made_them(root: Path) -> None:
    bundle = open_bundle(root)
    (golden,) = read_golden_tiles(bundle)
    assert golden.tile.shape == (224, 224, 3)
    assert check_golden_tiles(bundle, infer) < 1e-6


@pytest.mark.parametrize("error", [0.002, np.nan])
def test_differing_golden_logits_are_rejected(root: Path, error: float) -> None:
    with pytest.raises(GoldenTileError, match=r"pink\.png"):
        check_golden_tiles(open_bundle(root), lambda tiles: infer(tiles) + error)


def test_other_number_of_logits_is_rejected(root: Path) -> None:
    with pytest.raises(InferenceError, match="3 labels"):
        check_golden_tiles(open_bundle(root), lambda tiles: infer(tiles)[:, :1])


def test_bundle_without_golden_tiles_is_rejected(root: Path) -> None:
    write_expected(root, '{"logits": {}}')
    with pytest.raises(InferenceError):
        check_golden_tiles(open_bundle(root), infer)


EXPECTED = [
    "",
    "[]",
    '{"logits_int8": {}}',
    '{"logits": {"pink.png": [1, 2]}}',
    '{"logits": {"pink.png": [1, 2, NaN]}}',
    '{"logits": {"pink.png": [1, 2, 1e300]}}',
    '{"logits": {"pink.png": ["a", 2, 3]}}',
    '{"logits": {"absent.png": [1, 2, 3]}}',
    '{"logits": {"expected.json": [1, 2, 3]}}',
    '{"logits": {"../../2/golden/pink.png": [1, 2, 3]}}',
    '{"logits": {"/etc/hostname": [1, 2, 3]}}',
    '{"logits": {"..": [1, 2, 3]}}',
    '{"logits": {"a\\u0000.png": [1, 2, 3]}}',
    '{"logits": {"pink.png": [1, 2, 3]}, "labels": []}',
    '{"logits": ' + '{"a":' * 5000 + "1" + "}" * 5000 + "}",
]


@pytest.mark.parametrize("content", EXPECTED, ids=lambda content: content[:40])
def test_wrong_expected_answers_are_rejected(root: Path, content: str) -> None:
    write_expected(root, content)
    with pytest.raises(ManifestError):
        check_golden_tiles(open_bundle(root), infer)


def test_expected_json_that_the_manifest_does_not_list_is_rejected(root: Path) -> None:
    listed = open_bundle(root).manifest.files
    seal(root, files={n: e for n, e in listed.items() if not n.endswith("expected.json")})
    with pytest.raises(ManifestError, match="does not list it"):
        check_golden_tiles(open_bundle(root), infer)


def test_new_bundle_is_checked_completely(root: Path) -> None:
    complete_golden_record(root)
    bundle = open_bundle(root)
    assert check_golden_tiles(bundle, infer) < 1e-6
    assert unchecked_parts(bundle) is None


CHANGES = {
    "labels exchanged": {"labels": (LABELS[1], LABELS[0], LABELS[2])},
    "names exchanged": {
        "labels": (
            LABELS[0].model_copy(update={"name": LABELS[2].name}),
            LABELS[1],
            LABELS[2].model_copy(update={"name": LABELS[0].name}),
        )
    },
    "tumour flag": {"labels": (*LABELS[:2], LABELS[2].model_copy(update={"is_tumor": False}))},
    "label missing": {"labels": LABELS[:2]},
    "temperature": {"temperature": 2.001},
    "extreme temperature": {"temperature": 20.0},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_manifest_that_changes_what_users_read_is_rejected(
    root: Path, change: dict[str, Any]
) -> None:
    complete_golden_record(root)
    seal(root, **change)
    with pytest.raises(ManifestError, match=r"labels are|probabilities"):
        check_golden_tiles(open_bundle(root), infer)


def test_changed_probability_is_rejected(root: Path) -> None:
    record = complete_golden_record(root).model_dump(mode="json", exclude_none=True)
    probabilities = record["probabilities"]["pink.png"]
    probabilities["non_tumor"], probabilities["viable_tumor"] = (
        probabilities["viable_tumor"],
        probabilities["non_tumor"],
    )
    write_expected(root, json.dumps(record))
    with pytest.raises(ManifestError, match="probabilities"):
        check_golden_tiles(open_bundle(root), infer)


def test_damaged_golden_tile_is_rejected(root: Path) -> None:
    (root / GOLDEN_NAME / "pink.png").write_bytes(b"no image")
    seal(root)
    with pytest.raises(ManifestError, match="cannot be decoded"):
        list(read_golden_tiles(open_bundle(root)))


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_released_bundle_says_what_it_cannot_check(version: str) -> None:
    unchecked = unchecked_parts(open_bundle(RELEASED_MODELS / MODEL_NAME / version))
    assert unchecked is not None
    assert "OSTEO_BUNDLE_SHA256" in unchecked
