"""`osteo-train calibrate` on a copy of the released bundle and drawn tiles of a site."""

from __future__ import annotations

import errno
import os
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from app.bundle import list_versions, open_bundle
from app.core.manifest import MANIFEST_NAME, MODEL_CARD_NAME, sha256_of_file
from app.core.tile import decode_tile
from app.main import create_app
from app.settings import Settings
from tests.training.release.sites import N_TILES, calibrate, write_site
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import read_index
from training.data.labels import LABEL_IDS
from training.release import bundle
from training.reliability.input_gate import flag_tiles, measure_appearances

pytestmark = pytest.mark.tensorflow

NAME = "osteo-mobilenetv2"
RELEASED = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def written(parent: Path, site: Path) -> Path:
    """The next version, written and checked."""
    result = calibrate(parent, site)
    assert result.exit_code == 0, result.output
    assert "checked" in result.output
    return parent.with_name(str(int(parent.name) + 1))


@pytest.fixture
def alone(parent: Path, tmp_path: Path) -> Path:
    """A copy of the parent that a test may write beside."""
    copy = tmp_path / "models" / NAME / parent.name
    shutil.copytree(parent, copy)
    return copy


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Skip the check of the graphs, which takes seconds and has its own test."""
    monkeypatch.setattr(bundle, "check_bundle", open_bundle)


def test_calibrate_changes_only_manifest_card_and_golden_record(
    parent: Path, written: Path
) -> None:
    changed = {MANIFEST_NAME, MODEL_CARD_NAME, "golden/expected.json"}
    before, after = (
        {
            str(path.relative_to(root)): sha256_of_file(path)
            for path in root.rglob("*")
            if path.is_file()
        }
        for root in (parent, written)
    )
    assert set(before) == set(after)
    assert {name for name in before if before[name] != after[name]} == changed
    assert list_versions(parent.parents[1], NAME) == [parent.name, written.name]
    assert sorted(path.name for path in parent.parent.iterdir()) == [parent.name, written.name]


def test_calibrate_records_parent_and_site_in_the_manifest(
    parent: Path, written: Path, site: Path
) -> None:
    before, after = open_bundle(parent), open_bundle(written)
    manifest, record = after.manifest, after.manifest.assessment
    recalibration = manifest.recalibration
    assert recalibration is not None
    assert (recalibration.parent_version, recalibration.parent_sha256) == (
        parent.name,
        before.sha256,
    )
    assert recalibration.index_sha256 == read_index(site / "index.json")[1]
    assert (recalibration.n_tiles, recalibration.gate_widened) == (N_TILES, False)
    confusion = np.array(recalibration.confusion)
    assert confusion.sum(axis=1).tolist() == [N_TILES // 3] * 3
    assert int(np.trace(confusion)) < N_TILES, "the drawn tiles are not those of the collection"
    answered = dict(zip(manifest.label_ids, confusion.sum(axis=0).tolist(), strict=True))
    assert record is not None
    assert record.drift.predictions == answered
    assert (record.conformal.split, len(record.conformal.scores)) == ("site", N_TILES)
    assert sum(record.drift.predictions.values()) == N_TILES
    assert manifest.temperature != before.manifest.temperature
    for field in ("metrics", "data", "training", "weights", "labels", "int8"):
        assert getattr(manifest, field) == getattr(before.manifest, field)


def test_calibrate_appends_a_section_to_the_card(parent: Path, written: Path) -> None:
    before, after = ((root / MODEL_CARD_NAME).read_text() for root in (parent, written))
    assert after.startswith(before)
    section = after.removeprefix(before)
    assert f"## Recalibrated as version {written.name}" in section
    assert f"Calibrated on {N_TILES} labelled tiles of a site" in section
    assert "the temperature was fitted on" in " ".join(section.split())


def test_calibrate_lowers_the_log_loss_on_the_sites_tiles(written: Path) -> None:
    rows = (written / MODEL_CARD_NAME).read_text().splitlines()
    before, after = (
        float(next(row for row in rows[-3:] if row.startswith(f"| {when}")).split("|")[-2])
        for when in ("before", "after")
    )
    assert after <= before


def test_service_serves_the_recalibrated_version(written: Path) -> None:
    settings = Settings(models_dir=written.parents[1], model_name=NAME, runtime="litert")
    with TestClient(create_app(settings)) as client:
        deadline = time.monotonic() + 30
        while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        tile_bytes = encode_tile(draw_tile("viable_tumor", 128, 0))
        answer = client.post("/v1/classify", content=tile_bytes).json()
    assert answer["model"]["version"] == written.name
    assert answer["prediction_set"]["status"] == "available", (
        "21 tiles are enough for a coverage of 0.9"
    )


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("check_bundle", KeyboardInterrupt()),
        pytest.param("write_manifest", KeyboardInterrupt(), marks=pytest.mark.exhaustive),
        ("write_manifest", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
)
def test_calibrate_leaves_nothing_when_interrupted(
    alone: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    seen: list[list[str]] = []

    def interrupt(*_arguments: object) -> None:
        seen.append(list_versions(alone.parents[1], NAME))  # what a kill would leave behind
        raise error

    monkeypatch.setattr(bundle, step, interrupt)
    result = calibrate(alone, site)
    assert result.exit_code != 0
    assert seen == [[alone.name]]
    assert [path.name for path in alone.parent.iterdir()] == [alone.name]
    if isinstance(error, OSError):
        assert result.exit_code == 1
        assert "No space left on device" in result.output


@pytest.mark.usefixtures("unchecked")
def test_calibrate_keeps_a_version_that_another_process_wrote_meanwhile(
    alone: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = alone.with_name(str(int(alone.name) + 1))

    def overtaken(bundle_dir: Path) -> None:
        other.mkdir()
        (other / "half-written").touch()
        open_bundle(bundle_dir)

    monkeypatch.setattr(bundle, "check_bundle", overtaken)
    result = calibrate(alone, site)
    assert result.exit_code == 1
    assert "could not be written" in result.output
    assert [path.name for path in other.iterdir()] == ["half-written"]


@pytest.mark.usefixtures("unchecked")
def test_calibrate_works_if_the_parents_files_are_read_only(alone: Path, site: Path) -> None:
    for path in alone.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    assert calibrate(alone, site).exit_code == 0
    version = alone.with_name(str(int(alone.name) + 1))
    assert (version / MODEL_CARD_NAME).stat().st_mode & 0o200, "the copy is writable"


@pytest.mark.usefixtures("unchecked")
def test_calibrate_keeps_or_widens_the_gate(written: Path, tmp_path: Path) -> None:
    copy = tmp_path / "models" / NAME / written.name
    shutil.copytree(written, copy)
    other_site = write_site(tmp_path / "other", channels=(1, 0, 2))
    for options in ((), ("--widen-gate",)):
        result = calibrate(copy, other_site, *options)
        assert result.exit_code == 0, result.output
    first, kept, widened = (
        open_bundle(copy.with_name(str(int(written.name) + i))).manifest for i in range(3)
    )
    tiles = [decode_tile((other_site / f"{i}.png").read_bytes()) for i in range(N_TILES)]
    appearances = measure_appearances(np.stack(tiles))
    assert first.assessment is not None
    assert kept.assessment is not None
    assert widened.assessment is not None
    assert kept.assessment.gate == first.assessment.gate
    assert all(flag_tiles(kept.assessment.gate, appearances, None)), (
        "the gate was not fitted on these colours"
    )
    assert not any(flag_tiles(widened.assessment.gate, appearances, None))
    assert widened.recalibration is not None
    assert widened.recalibration.gate_widened
    own = np.stack([draw_tile(LABEL_IDS[i % 3], 224, i) for i in range(6)])
    before, after = (
        sum(map(bool, flag_tiles(manifest.assessment.gate, measure_appearances(own), None)))
        for manifest in (first, widened)
        if manifest.assessment is not None
    )
    assert after <= before, "a wider gate rejects nothing more"
