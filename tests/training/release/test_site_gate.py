"""Recalibration of an input gate with distances, with a fake model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from app.bundle import Bundle, open_bundle
from app.core.assessment_record import AssessmentRecord
from tests.bundles import build_bundle
from tests.records import GATE, a_record, embedding_at
from training.data.drawn_tiles import draw_tile
from training.data.index import Index, IndexedTile
from training.data.labelled_tiles import LabelledTiles
from training.data.labels import LABEL_IDS
from training.release import bundle as bundle_module
from training.release import recalibrate

N_TILES = 24
FAR = 0.7
"""Farther than `GATE` admits."""


class _Site:
    """Predicts every fourth tile wrongly; all embeddings are far from the training tiles."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> _Site:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def logits_and_embeddings(
        self, tiles: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
        predicted = np.arange(len(tiles)) % 3
        predicted[::4] = (predicted[::4] + 1) % 3
        return 3 * np.eye(3)[predicted], np.stack([embedding_at(FAR)] * len(tiles))


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(recalibrate, "Predictor", _Site)
    monkeypatch.setattr(bundle_module, "check_bundle", open_bundle)
    return open_bundle(build_bundle(tmp_path / "models", record=a_record()))


@pytest.fixture
def site(tmp_path: Path) -> LabelledTiles:
    labels = [LABEL_IDS[i % 3] for i in range(N_TILES)]
    entries = tuple(
        IndexedTile(
            name=str(i),
            file=f"{i}.png",
            sha256="0" * 64,
            case="Case 1",
            slide="Case 1 A1",
            x=i,
            y=0,
            raw_label=label,
            label=label,
        )
        for i, label in enumerate(labels)
    )
    index = Index(mixed_tiles="viable", table="t.csv", table_sha256="1" * 64, tiles=entries)
    tiles = np.stack([draw_tile(label, 64, i) for i, label in enumerate(labels)])
    return LabelledTiles(index, "2" * 64, tmp_path, tiles)


def record_of(version_dir: Path) -> AssessmentRecord:
    record = open_bundle(version_dir).manifest.assessment
    assert record is not None
    return record


def test_recalibrate_keeps_the_limits_and_counts_flagged_tiles(
    bundle: Bundle, site: LabelledTiles
) -> None:
    written = recalibrate.recalibrate(bundle, site, widen_gate=False)
    record = record_of(written)
    assert record.gate == GATE
    assert record.drift.distance is not None
    assert sum(record.drift.distance.counts) == N_TILES
    section = " ".join((written / "model-card.md").read_text().split())
    assert f"was kept unchanged and flags {N_TILES} of them" in section


def test_recalibrate_widens_the_limits_and_never_narrows_them(
    bundle: Bundle, site: LabelledTiles
) -> None:
    written = recalibrate.recalibrate(bundle, site, widen_gate=True)
    gate = record_of(written).gate
    assert gate.max_distance == pytest.approx(1.1 * FAR, abs=1e-3)
    for name in ("min_tissue_share", "min_contrast", "min_sharpness", "min_stain_share"):
        assert getattr(gate, name) <= getattr(GATE, name), name
    for (low, high), (kept_low, kept_high) in zip(gate.absorption, GATE.absorption, strict=True):
        assert low <= kept_low
        assert high >= kept_high
    section = " ".join((written / "model-card.md").read_text().split())
    assert "was widened to admit these tiles and flags 0 of them" in section


def test_recalibrate_numbers_versions_after_the_newest(bundle: Bundle, site: LabelledTiles) -> None:
    versions = [recalibrate.recalibrate(bundle, site, widen_gate=False).name for _ in range(2)]
    assert versions == ["2", "3"]
    recalibration = open_bundle(bundle.path.with_name("3")).manifest.recalibration
    assert recalibration is not None
    assert recalibration.parent_version == "1"
