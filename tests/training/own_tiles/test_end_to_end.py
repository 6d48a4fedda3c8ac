"""Four drawn classes from a table or from folders to a service that classifies them."""

from __future__ import annotations

import csv
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from app.bundle import open_bundle, read_golden_tiles
from app.core.manifest import Manifest, read_manifest
from tests.conftest import REPOSITORY
from tests.forking import ForkedProcess
from tests.servers import running_server
from tests.training.command_line import run, succeed
from tests.training.own_tiles.drawing import LABEL_IDS, draw, write_folders, write_table
from tests.training.progress_bars import Bars, bars, require_moving
from tests.training.tiny_system import TINY
from training.data.index import read_index
from training.networks.registry import SYSTEMS

__all__ = ["bars"]
pytestmark = pytest.mark.tensorflow


def release_command(data_dir: Path, config: Path, out: Path) -> tuple[object, ...]:
    given = ("release", "--data-dir", data_dir, "--config", config)
    return (*given, "--runs-dir", out / "runs", "--models-dir", out / "models")


def release(data_dir: Path, config: Path, out: Path) -> Manifest:
    succeed(*release_command(data_dir, config, out))
    return read_manifest(out / "models" / "four" / "1" / "manifest.json")[0]


def release_in_two_parts(
    command: tuple[object, ...], out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stop a release before its bundle, leave what a kill leaves, and run it again."""
    runs, bundle_dir = out / "runs", out / "models" / "four" / "1"

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("training.release.pipeline.assemble_bundle", stop)
        assert run(*command).exit_code == 130
    records = [runs / kind / "run.json" for kind in ("random", "slide", "patient")]
    before = [path.read_bytes() for path in records]
    # What a kill leaves while the bundle or the random run is being written.
    (bundle_dir / "saved_model").mkdir(parents=True)
    records[0].write_text('{"schema_version": 1, "kind"')
    output = succeed(*command)
    for line in (
        *("Cross-validated by random: 1 fold.", "Already finished by slide"),
        *("Already finished by patient", "Already finished: the fit", "the runtimes agree"),
    ):
        assert line in output
    assert [path.read_bytes() for path in records] == before


def require_own_labels(manifest: Manifest) -> None:
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
def test_table_with_slides_and_cases_becomes_a_service_after_an_interruption(
    tmp_path: Path, four_config: Path, bars: Bars, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SYSTEMS, TINY.name, TINY)
    monkeypatch.setattr("training.reliability.bundle_assessment.MAX_TILES", 2)
    fine_tune = '\n[fine_tune]\nepochs = 1\nfirst_layer = "conv2"\nviews_per_epoch = 1\n'
    text = four_config.read_text().replace("ahmed-cnn", "tiny")
    four_config.write_text(text.replace("random_folds = 2", "random_folds = 1") + fine_tune)
    command = release_command(write_table(tmp_path / "data"), four_config, tmp_path)
    release_in_two_parts(command, tmp_path, monkeypatch)
    require_moving(bars)
    shown = succeed("evaluate", tmp_path / "runs" / "slide", "--temperature", 1.5)
    assert all(label in shown for label in LABEL_IDS)
    assert "Mixed tiles" not in shown
    again = run(*command)
    assert again.exit_code == 1
    assert "a released bundle never changes" in " ".join(again.output.split())

    bundle = open_bundle(tmp_path / "models" / "four" / "1")
    assert {golden.name for golden in read_golden_tiles(bundle)} == {
        f"drawn_{label}.png" for label in LABEL_IDS
    }
    require_own_labels(bundle.manifest)

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
