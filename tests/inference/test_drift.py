from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from pydantic import ValidationError

from app.core.assessment_record import DriftReference, Histogram
from app.core.population_stability import stability_index
from app.inference.drift import MIN_TILES, QUANTITIES, DriftWatch
from tests.bundles import LABELS, FakeRuntime, build_bundle, manifest_of, plain_tile, saying
from tests.conftest import MakeClient
from tests.records import a_record, embedding_at

LABEL_IDS = tuple(label.id for label in LABELS)
REFERENCE = a_record().drift
ADMIN = {"Authorization": "Bearer a-long-secret-of-tests"}


def observe(watch: DriftWatch, label: str, n_tiles: int, probability: float = 0.8) -> None:
    for _ in range(n_tiles):
        watch.observe(label, probability, 0.15)


def test_index_is_nan_with_too_few_tiles() -> None:
    watch = DriftWatch(REFERENCE, LABEL_IDS, 1000)
    for quantity in QUANTITIES:
        assert math.isnan(watch.index(quantity))
    observe(watch, "non_tumor", MIN_TILES - 1)
    assert math.isnan(watch.index("prediction"))
    observe(watch, "non_tumor", 1)
    assert all(math.isfinite(watch.index(quantity)) for quantity in QUANTITIES)


def test_index_is_computed_from_the_counts() -> None:
    watch = DriftWatch(REFERENCE, LABEL_IDS, 1000)
    observe(watch, "non_tumor", 90, probability=0.95)
    observe(watch, "viable_tumor", 60, probability=0.3)
    reference = REFERENCE.predictions
    assert watch.index("prediction") == stability_index([90, 0, 60], list(reference.values()))
    expected = stability_index([60, 0, 0, 90], REFERENCE.probability.counts)
    assert watch.index("probability") == expected
    assert watch.index("distance") == stability_index([0, 150, 0], (20, 15, 6))


def test_index_follows_the_sliding_window() -> None:
    watch = DriftWatch(REFERENCE, LABEL_IDS, 410)

    def as_at_release() -> float:
        for label, n_tiles in REFERENCE.predictions.items():
            observe(watch, label, 10 * n_tiles)
        return watch.index("prediction")

    assert as_at_release() < 0.01
    observe(watch, "viable_tumor", 410)
    assert watch.index("prediction") > 1
    assert as_at_release() < 0.01, "the window holds only recent answers"


def test_window_has_a_minimum_size() -> None:
    watch = DriftWatch(REFERENCE, LABEL_IDS, 1)
    observe(watch, "non_tumor", MIN_TILES)
    assert math.isfinite(watch.index("prediction"))


def test_label_missing_from_the_reference_is_counted() -> None:
    reference = DriftReference(
        predictions={"viable_tumor": 41},
        probability=REFERENCE.probability,
        distance=REFERENCE.distance,
    )
    watch = DriftWatch(reference, LABEL_IDS, 1000)
    observe(watch, "non_tumor", 120)
    assert watch.index("prediction") == stability_index([120, 0, 0], [0, 0, 41])


def test_unknown_distance_is_not_counted() -> None:
    watch = DriftWatch(REFERENCE, LABEL_IDS, 1000)
    for _ in range(MIN_TILES):
        watch.observe("non_tumor", 0.8, None)
    assert math.isfinite(watch.index("prediction"))
    assert math.isnan(watch.index("distance"))


def test_reference_with_an_unknown_label_is_rejected(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="labels that the model lacks"):
        manifest_of(tmp_path, record=a_record(predictions={"other": 3}))


def gauge_of(client: TestClient, quantity: str = "prediction") -> float:
    text = client.get("/metrics").text
    name = f'osteo_population_stability_index{{quantity="{quantity}"}}'
    found = re.search(rf"^{re.escape(name)} (.+)$", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def classify(client: TestClient, n_tiles: int) -> None:
    files = [("files", ("t", plain_tile((200, 100, 160), 64)))] * n_tiles
    assert client.post("/v1/classify/batch", files=files).json()["n_problems"] == 0


def test_gauge_follows_the_answers_and_resets_with_the_model(
    make_client: MakeClient, models_dir: Path, runtime: FakeRuntime
) -> None:
    build_bundle(models_dir, "2", a_record())
    build_bundle(models_dir, "3", a_record(distance=Histogram(edges=(), counts=(41,))))
    client = make_client(model_version="2", admin_token="a-long-secret-of-tests")
    runtime.embedding = embedding_at(0.15)
    runtime.poison = saying(9.0, 0.0, 0.0)
    classify(client, 64)
    assert math.isnan(gauge_of(client))
    classify(client, 64)
    assert gauge_of(client) == stability_index([128, 0, 0], [20, 11, 10])
    assert gauge_of(client, "probability") == stability_index([0, 0, 0, 128], [5, 8, 12, 16])
    assert gauge_of(client, "distance") == stability_index([0, 128, 0], [20, 15, 6])
    runtime.poison = lambda logits: logits
    for version in ("3", "1"):
        answer = client.post(f"/v1/models/{version}/activate", headers=ADMIN)
        assert answer.status_code == 200, answer.text
        assert math.isnan(gauge_of(client))
    classify(client, 64)
    classify(client, 64)
    assert math.isnan(gauge_of(client)), "version 1 has no reference"
