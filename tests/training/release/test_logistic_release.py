"""A release with layers, texture rows and thumbnails passes its golden check."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.bundle import check_golden_tiles, open_bundle
from app.runtime.litert import LiteRtRuntime
from tests.training.evaluation.test_nested_answers import rows_of
from tests.training.table.drawing import drawn_rows, write_rows
from training.config import read_config
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import build_index
from training.evaluation.nested_answers import COLUMNS
from training.release.pipeline import Folders, release_bundle

pytestmark = pytest.mark.tensorflow

RECIPE = """[network]
system = "tiny"
head = "logistic"
texture_weight = 1.0
backbone = {layers = ["conv1", "last"], side_px = 32, tile_side_px = 64}
"""
BALANCED = '[sampling]\nbalance = "case_and_label"\n'


def test_release_of_layers_texture_and_thumbnails(
    tiny_config: Path, drawn_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An untrained network changes predictions however many convolutions stay in float.
    monkeypatch.setattr("training.release.quantize._FLOAT_CONVOLUTIONS", (0,))
    rows = drawn_rows()
    for number, row in enumerate(rows):  # both preparations, with all labels of each slide
        row["X_x"] = str(540 if (number // 3) % 2 else 550)
        row["image.name"] = row["image.name"].replace(" A2-", " A9-")  # no tile of this slide
    table = write_rows(tmp_path / "table" / "table.csv", rows)
    thumbnail = tmp_path / "thumbnails" / "Viable" / "Case-3-A1-7-7.png"
    thumbnail.parent.mkdir(parents=True)
    thumbnail.write_bytes(encode_tile(draw_tile("viable_tumor", 108, 0)))
    text = tiny_config.read_text().replace("[network]\n", RECIPE)
    text = text.replace("n_views = 1", "n_views = 1\nlow_resolution_px = 24")
    tiny_config.write_text(text.partition("[fine_tune]")[0] + BALANCED)
    config = read_config(tiny_config, "none", tmp_path / "thumbnails", table)
    folders = Folders(drawn_dir, tmp_path / "runs", tmp_path / "models")
    index, _ = build_index(drawn_dir, read_table(find_table(drawn_dir)), side_px=128)
    n_wrong = {("0", "patient"): 3, ("1", "patient"): 2, ("0", "slide"): 1, ("1", "slide"): 1}
    answers = rows_of(index, n_wrong)
    nested = tmp_path / "answers.csv"
    nested.write_text("\n".join(",".join(row) for row in [list(COLUMNS), *answers]))
    path, manifest = release_bundle(config, folders, nested_answers=nested)

    assert manifest.input.side_px == 64
    assert manifest.embedding_size == 8 + 16
    assert manifest.cam_shape == (2, 2)
    assert manifest.training["supplements"] == {
        "thumbnails": "thumbnails",
        "feature_table": "table.csv",
    }
    card = (path / "model-card.md").read_text()
    assert "for new patients, that of the nested choice below. Do not quote the random" in card
    by_patient = "**9.5 of 12 tiles (79.2 %; 9 to 10; macro F1 0.791) by patient**"
    assert f"correct answers about {by_patient}; 11 of 12 tiles (91.7 %; macro F1" in card
    assert "These are means of 2 training seeds." in card
    bundle = open_bundle(path)
    runtime = LiteRtRuntime(bundle.litert_file, n_workers=1)
    assert check_golden_tiles(bundle, lambda tiles: runtime.infer(tiles).logits) < 1e-3
    runtime.close()
