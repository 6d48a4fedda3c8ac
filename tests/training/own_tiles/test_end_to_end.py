"""Four drawn classes from a table or from folders to a service that classifies them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.core.manifest import Manifest, read_manifest
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import running_server
from tests.training.command_line import succeed
from tests.training.own_tiles.drawing import LABEL_IDS, draw, write_folders, write_table
from tests.training.tiny_system import TINY
from training.data.index import read_index
from training.networks.registry import SYSTEMS

pytestmark = pytest.mark.tensorflow


def release(data_dir: Path, config: Path, out: Path) -> Manifest:
    succeed(
        *("release", "--data-dir", data_dir, "--config", config),
        *("--runs-dir", out / "runs", "--models-dir", out / "models"),
    )
    return read_manifest(out / "models" / "four" / "1" / "manifest.json")[0]


def printed_row(tile: Path, **environ: str) -> dict[str, str]:
    """What `osteo classify` prints of a tile."""
    options: dict[str, Any] = {"cwd": REPOSITORY, "env": {"PATH": "", **environ}, "text": True}
    arguments = ["classify", str(tile), "--format", "csv"]
    with ForkedProcess(arguments, stdout=subprocess.PIPE, **options) as process:
        said, _ = process.communicate()
    assert process.returncode == 0
    (row,) = csv.DictReader(io.StringIO(said))
    return row


@pytest.mark.usefixtures("eagerly")
def test_table_with_slides_and_cases_becomes_a_service(
    tmp_path: Path, four_config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
    fine_tune = '\n[fine_tune]\nepochs = 1\nfirst_layer = "conv2"\nviews_per_epoch = 1\n'
    four_config.write_text(four_config.read_text().replace("ahmed-cnn", "tiny") + fine_tune)
    data_dir, runs = write_table(tmp_path / "data"), tmp_path / "runs"
    config = ("--config", four_config)
    index = ("--index", runs / "index.json")
    data = ("--data-dir", data_dir)
    succeed("index", *data, *config, "--out", runs / "index.json")
    succeed("split", *index, "--kind", "slide", "--folds", 2, "--out", runs / "slide.json")
    split = ("--split", runs / "slide.json")
    succeed("fit", *data, *config, *index, *split, "--out", runs / "slide")
    shown = succeed("evaluate", runs / "slide")
    assert all(label in shown for label in LABEL_IDS)
    assert "Mixed tiles" not in shown

    # The release reuses the index, the split and the run by slide.
    manifest = release(data_dir, four_config, tmp_path)
    assert manifest.label_ids == LABEL_IDS
    assert [label.name for label in manifest.labels] == [
        *("Stroma", "Viable sarcoma", "Fat", "Cartilage")
    ]
    assert [label.colour for label in manifest.labels] == ["#1f77b4", "#d62728", None, None]
    assert [label.is_tumor for label in manifest.labels] == [False, True, False, False]
    assert [entry.split for entry in manifest.metrics] == ["random", "slide", "patient"]
    assert (manifest.data.n_slides, manifest.data.n_cases) == (4, 2)
    assert manifest.data.tiles_by_label == dict.fromkeys(LABEL_IDS, 4)
    assert (manifest.data.name, manifest.data.mixed_tiles) == ("Drawn tiles", None)
    assert (manifest.input.objective_power, manifest.input.tile_side_px) == (20.0, 96)

    tile = tmp_path / "tile.png"
    tile.write_bytes(draw(1, 99))
    environ = {"OSTEO_MODELS_DIR": str(tmp_path / "models"), "OSTEO_MODEL_NAME": "four"}
    with running_server(tmp_path, **environ) as server:
        server.wait_until_ready()
        answer = server.client.post(
            f"{server.url}/v1/classify", content=tile.read_bytes(), timeout=60
        ).json()
        models = server.client.get(f"{server.url}/v1/models").json()
        metrics = server.client.get(f"{server.url}/metrics").text
    assert tuple(answer["probabilities"]) == LABEL_IDS
    assert sum(answer["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert answer["tumor_probability"] == pytest.approx(answer["probabilities"]["sarcoma"])
    assert '"colour": "#d62728"' in json.dumps(models)
    assert f'osteo_predictions_total{{label="{answer["prediction"]}"}} 1.0' in metrics

    row = printed_row(tile, **environ)
    assert float(row["sarcoma"]) == pytest.approx(answer["probabilities"]["sarcoma"], abs=1e-4)
    assert row["prediction"] in LABEL_IDS


@pytest.mark.exhaustive
@pytest.mark.usefixtures("eagerly")
def test_folders_without_slides_are_released_with_an_honest_card(
    tmp_path: Path, four_config: Path
) -> None:
    data_dir = write_folders(tmp_path / "data")
    four_config.write_text(four_config.read_text().replace("tumor = true", "tumor = false"))
    manifest = release(data_dir, four_config, tmp_path)
    (metrics,) = manifest.metrics
    assert metrics.split == "random"
    assert (metrics.tumor_precision, metrics.tumor_recall) == (None, None)
    assert (manifest.data.n_slides, manifest.data.n_cases) == (None, None)
    assert manifest.assessment is not None
    assert manifest.assessment.conformal.split == "random"
    card = (tmp_path / "models/four/1/model-card.md").read_text()
    for text in (
        "drawn tissue",
        "Slides unknown: tiles of one slide may be on both sides",
        "the four labels",
        "nominally 20x",
        "reliability-random.png",
        "unknown slides of unknown cases",
        "Not measured: no patient split",
    ):
        assert text in card, text
    assert "Leavey" not in card
    assert "osteosarcoma" not in card
    assert (tmp_path / "models/four/1/plots/reliability-random.png").exists()

    index, _ = read_index(tmp_path / "runs" / "index.json")
    assert index.layout == "folders"
    assert [t.raw_label for t in index.tiles if t.label == "stroma"] == ["Bindegewebe"] * 4
