from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.bundle import open_bundle
from app.core.assessment_record import DriftReference, Histogram
from app.core.reference_tiles import REFERENCE_NAME, read_reference
from tests.conftest import RELEASED_MODELS, REPOSITORY
from training.data.annotations import find_table, read_table
from training.data.index import build_index
from training.data.labels import LABEL_IDS
from training.data.tiles import TileStream
from training.release.model_card_reliability import own_tiles_paragraphs
from training.reliability.own_tiles import OwnTiles, measure_own_tiles
from training.reliability.predictor import Predictor

TRUTH = np.array([0, 0, 1, 1, 2, 2])
LOGITS = np.array([[9.0, 0, 0], [9, 0, 0], [0, 9, 0], [0, 0, 9], [0, 0, 9], [0, 0, 9]])


def reference(probability: tuple[int, int], distance: tuple[int, int] | None) -> DriftReference:
    return DriftReference(
        predictions={"non_tumor": 2, "non_viable_tumor": 1, "viable_tumor": 3},
        probability=Histogram(edges=(0.9,), counts=probability),
        distance=None if distance is None else Histogram(edges=(0.5,), counts=distance),
    )


def test_measure_own_tiles_counts_correct_tiles_and_finds_no_drift_from_themselves() -> None:
    distances = np.full(6, 0.1)
    found = measure_own_tiles(LOGITS, TRUTH, distances, 1.0, reference((0, 6), (6, 0)))
    assert (found.n_correct, found.n_tiles) == (5, 6)
    assert found.drift == pytest.approx({"prediction": 0, "probability": 0, "distance": 0})


def test_measure_own_tiles_sees_that_they_are_surer_than_the_reference() -> None:
    found = measure_own_tiles(LOGITS, TRUTH, np.zeros(6), 1.0, reference((6, 0), None))
    assert set(found.drift) == {"prediction", "probability"}
    # Shares 6.5 / 7 and 0.5 / 7 against the reverse.
    assert found.drift["probability"] == pytest.approx(2 * 6 / 7 * np.log(13), rel=1e-6)


def test_the_card_says_what_the_number_does_not_mean() -> None:
    own = OwnTiles(n_tiles=41, n_correct=41, drift={"probability": 1.453, "distance": 2.339})
    right, drift = own_tiles_paragraphs(own)
    assert "right on 41 of 41 of its own training tiles" in right
    assert "says nothing about other tiles" in right
    assert "1.45 (probability), 2.34 (distance)" in drift
    assert own_tiles_paragraphs(None) == []


def own_tiles_of(version: str, real_dir: Path) -> OwnTiles:
    bundle = open_bundle(RELEASED_MODELS / "osteo-mobilenetv2" / version)
    assert bundle.manifest.assessment is not None
    index, _ = build_index(real_dir, read_table(find_table(real_dir)))
    assert bundle.manifest.data.n_tiles == len(index.tiles) == 41
    truth = np.array([LABEL_IDS.index(label) for label in index.labels])
    with Predictor(bundle.litert_file, bundle.manifest.temperature) as predictor:
        logits, embeddings = predictor.logits_and_embeddings(TileStream(index, real_dir, 224))
    distances = read_reference(bundle.path / REFERENCE_NAME).distances(embeddings)
    return measure_own_tiles(
        logits, truth, distances, bundle.manifest.temperature, bundle.manifest.assessment.drift
    )


@pytest.mark.real_tiles
def test_the_released_bundle_answers_its_own_tiles_as_documented(real_dir: Path) -> None:
    own = own_tiles_of("4", real_dir)
    found = f"right on {own.n_correct} of its own {own.n_tiles} training tiles"
    assert found in words_of("README.md")


@pytest.mark.real_tiles
def test_own_tiles_of_version_3_drift_as_documented(real_dir: Path) -> None:
    own = own_tiles_of("3", real_dir)
    assert own.n_correct == 41
    found = {quantity: f"{value:.2f}" for quantity, value in own.drift.items()}
    assert (
        f"is {found['probability']} for the probability and {found['distance']} for the distance, "
        f"though only {found['prediction']} for the prediction"
    ) in words_of("docs/trust.md")


def words_of(page: str) -> str:
    return " ".join((REPOSITORY / page).read_text(encoding="utf-8").replace("\n> ", " ").split())
