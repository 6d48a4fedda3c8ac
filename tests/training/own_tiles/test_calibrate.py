"""A bundle with other labels is recalibrated on a site's plain table."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from app.bundle import open_bundle
from app.core.manifest import sha256_of_file
from tests.conftest import RELEASED_MODELS
from tests.training.command_line import run, succeed
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.labels import LABEL_IDS
from training.release import bundle

RENAMED = {"non_viable_tumor": "necrosis", "non_tumor": "stroma", "viable_tumor": "sarcoma"}
"""In an order in which no name is replaced inside another."""
IDS = ("stroma", "necrosis", "sarcoma")


def renamed(text: str) -> str:
    for old, new in RENAMED.items():
        text = text.replace(old, new)
    return text


@pytest.fixture
def relabelled(tmp_path: Path) -> Path:
    """The released bundle, with other ids for its labels."""
    folder = tmp_path / "models" / "osteo-mobilenetv2" / "4"
    shutil.copytree(RELEASED_MODELS / "osteo-mobilenetv2" / "4", folder)
    for path in (folder / "golden").glob("*.png"):
        path.rename(path.with_name(renamed(path.name)))
    record = folder / "golden" / "expected.json"
    record.write_text(renamed(record.read_text()))
    manifest = json.loads(renamed((folder / "manifest.json").read_text()))
    manifest["files"]["golden/expected.json"] = {
        "sha256": sha256_of_file(record),
        "n_bytes": record.stat().st_size,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.tensorflow
def test_calibrate_takes_a_plain_table_with_the_labels_of_the_bundle(
    relabelled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle, "check_bundle", open_bundle)  # which other tests check
    site = tmp_path / "site"
    site.mkdir()
    rows = ["file\tlabel"]
    for i in range(21):
        tile = draw_tile(LABEL_IDS[i % 3], 128, i)
        (site / f"{i}.png").write_bytes(encode_tile(tile))
        rows.append(f"{i}.png\t{IDS[i % 3].upper()}")
    (site / "site.tsv").write_text("\n".join(rows))

    index = ("--index", tmp_path / "site.json")
    made = ("index", "--data-dir", site, "--tile-side-px", "any", "--out", index[1])
    assert "[labels]" in run(*made).output
    succeed(*made, "--bundle", relabelled)
    succeed("calibrate", relabelled, "--data-dir", site, *index)
    manifest = open_bundle(relabelled.with_name("5")).manifest
    assert manifest.label_ids == IDS
    assert manifest.recalibration is not None
    assert manifest.recalibration.n_tiles == 21
    assert manifest.assessment is not None
    assert set(manifest.assessment.drift.predictions) == set(IDS)

    other = RELEASED_MODELS / "osteo-mobilenetv2" / "4"
    result = run("calibrate", other, "--data-dir", site, *index)
    assert result.exit_code == 1
    said = " ".join(result.output.split())
    assert "The bundle has the labels non_tumor, non_viable_tumor, viable_tumor, but" in said
