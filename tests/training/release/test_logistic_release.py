"""A release with layers, texture rows, thumbnails and unknown weights."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from app.bundle import check_golden_tiles, open_bundle
from app.core.manifest import Manifest
from app.runtime.litert import LiteRtRuntime
from tests.training.conftest import TINY_CONFIG
from tests.training.evaluation.test_nested_answers import rows_of
from tests.training.release.test_lite_graph import (
    require_float_behind_the_backbone,
    require_same_answers,
)
from tests.training.table.drawing import drawn_rows, write_rows
from tests.training.tiny_system import TINY
from training.config import read_config
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import build_index
from training.data.labels import LABEL_IDS
from training.evaluation.nested_answers import COLUMNS
from training.networks.graphs import weights_sha256
from training.networks.registry import SYSTEMS
from training.release.pipeline import Folders, release_bundle

pytestmark = pytest.mark.tensorflow

RECIPE = """[network]
system = "tiny"
head = "logistic"
texture_weight = 1.0
backbone.layers = ["conv1", "last"]
backbone.pooling = "mean_and_deviation"
backbone.side_px = 32
backbone.tile_side_px = 64
"""
BALANCED = '[sampling]\nbalance = "case_and_label"\n'


@dataclass(frozen=True, slots=True)
class Released:
    """A bundle, and what was said on standard error meanwhile."""

    path: Path
    manifest: Manifest
    card: str
    weights_file: Path
    said: str


@pytest.fixture(scope="module")
def patch() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def released(
    drawn_dir: Path, tmp_path_factory: pytest.TempPathFactory, patch: pytest.MonkeyPatch
) -> Released:
    folder = tmp_path_factory.mktemp("release")
    # An untrained network changes predictions however many convolutions stay in float.
    patch.setattr("training.release.quantize._FLOAT_CONVOLUTIONS", (0,))
    patch.setattr("training.reliability.ood_samples.N_PER_KIND", 1)
    patch.setattr("training.reliability.bundle_assessment.MAX_TILES", 1)
    with_int8 = replace(TINY, has_int8=True, build=lambda side, _: TINY.build(side, None))
    patch.setitem(SYSTEMS, TINY.name, with_int8)
    # Named like the file that the released models start from, with another content.
    weights_file = folder / "mobilenet_v2_1.0_224_imagenet_no_top.weights.h5"
    weights_file.write_bytes(b"weights")
    rows = drawn_rows()
    for number, row in enumerate(rows):  # both preparations, with all labels of each slide
        row["X_x"] = str(540 if (number // 3) % 2 else 550)
        row["image.name"] = row["image.name"].replace(" A2-", " A9-")  # no tile of this slide
    table = write_rows(folder / "table" / "table.csv", rows)
    thumbnail = folder / "thumbnails" / "Viable" / "Case-3-A1-7-7.png"
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(encode_tile(draw_tile("viable_tumor", 108, 0)))
    text = TINY_CONFIG.replace("[network]\n", RECIPE)
    text = text.replace("n_views = 1", "n_views = 1\nlow_resolution_px = 24")
    (folder / "tiny.toml").write_text(text.partition("[fine_tune]")[0] + BALANCED)
    config = read_config(folder / "tiny.toml", str(weights_file), folder / "thumbnails", table)
    folders = Folders(drawn_dir, folder / "runs", folder / "models")
    index, _ = build_index(drawn_dir, read_table(find_table(drawn_dir)), side_px=128)
    n_wrong = {("0", "patient"): 3, ("1", "patient"): 2, ("0", "slide"): 1, ("1", "slide"): 1}
    nested = folder / "answers.csv"
    answers = rows_of(index, n_wrong)
    nested.write_text("\n".join(",".join(row) for row in [list(COLUMNS), *answers]))
    with contextlib.redirect_stderr(io.StringIO()) as stderr:
        path, manifest = release_bundle(config, folders, nested_answers=nested)
    card = (path / "model-card.md").read_text()
    return Released(path, manifest, card, weights_file, " ".join(stderr.getvalue().split()))


def test_release_of_layers_texture_and_thumbnails(released: Released) -> None:
    manifest, card = released.manifest, released.card
    assert manifest.input.side_px == 64
    assert manifest.embedding_size == 2 * (8 + 16)
    assert manifest.cam_shape == (2, 2)
    assert manifest.training["supplements"] == {
        "thumbnails": "thumbnails",
        "feature_table": "table.csv",
    }
    assert "for new patients, that of the nested choice below. Do not quote the random" in card
    by_patient = "**9.5 of 12 tiles (79.2 %; 9 to 10; macro F1 0.791) by patient**"
    assert f"correct answers about {by_patient}; 11 of 12 tiles (91.7 %; macro F1" in card
    assert "These are means of 2 training seeds." in card
    bundle = open_bundle(released.path)
    runtime = LiteRtRuntime(bundle.litert_file, n_workers=1)
    assert check_golden_tiles(bundle, lambda tiles: runtime.infer(tiles).logits) < 1e-3
    runtime.close()


def test_a_bundle_from_unknown_weights_says_so_in_manifest_card_and_warning(
    released: Released,
) -> None:
    weights, card = released.manifest.weights, released.card
    sha256 = weights_sha256(str(released.weights_file))
    assert weights.sha256 == sha256
    assert "origin unknown" in weights.name
    assert weights.licence == "unknown"
    assert 'license: "unknown"' in card
    assert "Licence unknown." in card
    assert f"`{sha256}`" in card
    assert "warning: The licence of the initial weights is unknown" in released.said


def test_int8_file_of_a_release_rounds_nothing_behind_the_backbone(released: Released) -> None:
    require_float_behind_the_backbone(released.path / "model-int8.tflite")


def test_exported_files_of_a_release_agree(released: Released) -> None:
    tiles = np.stack([draw_tile(LABEL_IDS[i % 3], 64, i) for i in range(6)])
    require_same_answers(released.path, tiles)
