"""`osteo-train calibrate` on a copy of the released bundle and drawn tiles of another site."""

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
from training.release import recalibrate
from training.reliability.input_gate import judge, measure_all

pytestmark = pytest.mark.tensorflow

NAME = "osteo-mobilenetv2"
RELEASED = Path(__file__).parents[3] / "models"


@pytest.fixture(scope="module")
def written(parent: Path, site: Path) -> Path:
    """The version after it, written and checked for real."""
    result = calibrate(parent, site)
    assert result.exit_code == 0, result.output
    assert "checked" in result.output
    return parent.with_name(str(int(parent.name) + 1))


@pytest.fixture
def alone(parent: Path, tmp_path: Path) -> Path:
    """The parent in a folder of its own, that a test may write into."""
    copy = tmp_path / "models" / NAME / parent.name
    shutil.copytree(parent, copy)
    return copy


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the check of the graphs, which takes seconds and has its own test."""
    monkeypatch.setattr(recalibrate, "check_bundle", open_bundle)


def test_next_version_touches_nothing_but_manifest_and_card(parent: Path, written: Path) -> None:
    changed = {MANIFEST_NAME, MODEL_CARD_NAME}
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


def test_manifest_says_what_was_recalibrated_on_what(
    parent: Path, written: Path, site: Path
) -> None:
    before, after = open_bundle(parent), open_bundle(written)
    manifest, record = after.manifest, after.manifest.assessment
    told = manifest.recalibration
    assert told is not None
    assert (told.parent_version, told.parent_sha256) == (parent.name, before.sha256)
    assert told.index_sha256 == read_index(site / "index.json")[1]
    assert (told.n_tiles, told.gate_widened) == (N_TILES, False)
    assert record is not None
    assert (record.conformal.split, len(record.conformal.scores)) == ("site", N_TILES)
    assert sum(record.drift.predictions.values()) == N_TILES
    assert manifest.temperature != before.manifest.temperature
    for field in ("metrics", "data", "training", "weights", "labels", "int8"):
        assert getattr(manifest, field) == getattr(before.manifest, field)


def test_card_keeps_what_it_said_and_tells_of_the_site(parent: Path, written: Path) -> None:
    before, after = ((root / MODEL_CARD_NAME).read_text() for root in (parent, written))
    assert after.startswith(before)
    section = after.removeprefix(before)
    assert f"## Recalibrated as version {written.name}" in section
    assert f"On {N_TILES} labelled tiles of a site" in section
    assert "it was fitted on" in " ".join(section.split())


def test_temperature_is_the_best_on_the_sites_tiles(written: Path) -> None:
    rows = (written / MODEL_CARD_NAME).read_text().splitlines()
    before, after = (
        float(next(row for row in rows[-3:] if row.startswith(f"| {when}")).split("|")[-2])
        for when in ("before", "after")
    )
    assert after <= before


def test_service_serves_the_new_version(written: Path) -> None:
    settings = Settings(models_dir=written.parents[1], model_name=NAME, runtime="litert")
    with TestClient(create_app(settings)) as client:
        deadline = time.monotonic() + 30
        while client.get("/readyz").status_code != 200 and time.monotonic() < deadline:
            time.sleep(0.01)
        tile_bytes = encode_tile(draw_tile("viable_tumor", 128, 0))
        answer = client.post("/v1/classify", content=tile_bytes).json()
    assert answer["model"]["version"] == written.name
    assert answer["prediction_set"]["status"] == "available", "20 tiles are enough for 0.9"


@pytest.mark.parametrize(
    ("step", "error"),
    [
        ("check_bundle", KeyboardInterrupt()),
        ("write_manifest", KeyboardInterrupt()),
        ("write_manifest", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))),
    ],
)
def test_what_is_cut_off_in_the_middle_leaves_nothing(
    alone: Path,
    site: Path,
    monkeypatch: pytest.MonkeyPatch,
    step: str,
    error: BaseException,
) -> None:
    seen: list[list[str]] = []

    def cut_off(*_arguments: object) -> None:
        seen.append(list_versions(alone.parents[1], NAME))  # what a kill would leave
        raise error

    monkeypatch.setattr(recalibrate, step, cut_off)
    result = calibrate(alone, site)
    assert result.exit_code != 0
    assert seen == [[alone.name]]
    assert [path.name for path in alone.parent.iterdir()] == [alone.name]
    if isinstance(error, OSError):
        assert result.exit_code == 1
        assert "No space left on device" in result.output


@pytest.mark.usefixtures("unchecked")
def test_version_that_another_process_wrote_meanwhile_stays_as_it_is(
    alone: Path, site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = alone.with_name(str(int(alone.name) + 1))

    def overtaken(bundle_dir: Path) -> None:
        other.mkdir()
        (other / "half-written").touch()
        open_bundle(bundle_dir)

    monkeypatch.setattr(recalibrate, "check_bundle", overtaken)
    result = calibrate(alone, site)
    assert result.exit_code == 1
    assert "could not be written" in result.output
    assert [path.name for path in other.iterdir()] == ["half-written"]


@pytest.mark.usefixtures("unchecked")
def test_protected_files_of_the_parent_are_no_obstacle(alone: Path, site: Path) -> None:
    for path in alone.rglob("*"):
        if path.is_file():
            path.chmod(0o444)
    assert calibrate(alone, site).exit_code == 0
    version = alone.with_name(str(int(alone.name) + 1))
    assert (version / MODEL_CARD_NAME).stat().st_mode & 0o200, "not a copy of the protection"


@pytest.mark.usefixtures("unchecked")
def test_gate_is_kept_or_widened_as_asked(written: Path, tmp_path: Path) -> None:
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
    appearances = measure_all(np.stack(tiles))
    assert first.assessment is not None
    assert kept.assessment is not None
    assert widened.assessment is not None
    assert kept.assessment.gate == first.assessment.gate
    assert all(judge(kept.assessment.gate, appearances, None)), "these colours were never seen"
    assert not any(judge(widened.assessment.gate, appearances, None))
    assert widened.recalibration is not None
    assert widened.recalibration.gate_widened
    own = np.stack([draw_tile(LABEL_IDS[i % 3], 224, i) for i in range(6)])
    before, after = (
        sum(map(bool, judge(manifest.assessment.gate, measure_all(own), None)))
        for manifest in (first, widened)
        if manifest.assessment is not None
    )
    assert after <= before, "a wider gate shuts nothing out"
