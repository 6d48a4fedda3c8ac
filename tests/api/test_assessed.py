"""The assessment in every answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from tests.api.explaining import DRAWN, PHOTOGRAPH, TISSUE, explain, explain_grid
from tests.bundles import FakeRuntime, build_bundle, saying
from tests.conftest import MakeClient
from tests.records import GATE, a_record
from training.data.drawn_tiles import encode_tile


@pytest.fixture
def assessed(make_client: MakeClient, models_dir: Path, runtime: FakeRuntime) -> TestClient:
    """A service of the test alone, because tests read its counters."""
    build_bundle(models_dir, "2", a_record())
    assessed = make_client()
    runtime.poison = saying(9.0, 1.0, 0.0)
    return assessed


def test_nan_embedding_corrupts_neither_answer_nor_metrics(
    assessed: TestClient, runtime: FakeRuntime
) -> None:
    assessed.post("/v1/classify", content=TISSUE)
    runtime.embedding = np.full_like(runtime.embedding, np.nan)
    document = explain_grid(assessed).json()
    assert document["review"]["reasons"] == ["out_of_distribution"]
    assert document["checks"]["distance"] is None
    text = assessed.get("/metrics").text
    assert "osteo_distance_count 1.0" in text
    assert "osteo_distance_sum NaN" not in text


BEFORE: dict[str, type] = {
    "request_id": str,
    "prediction": str,
    "probabilities": dict,
    "tumor_probability": float,
    "model": dict,
    "tile": dict,
    "timing": dict,
}


@pytest.mark.parametrize("version", ["1", "2"])
def test_answer_keeps_its_first_fields_and_adds_the_assessment(
    make_client: MakeClient, models_dir: Path, version: str
) -> None:
    build_bundle(models_dir, "2", a_record())
    assessed = make_client(model_version=version)
    document = assessed.post("/v1/classify", content=TISSUE).json()
    for name, type_ in BEFORE.items():
        assert isinstance(document[name], type_), name
    added = {"prediction_set", "review", "checks", "explanation"}
    assert set(document) == set(BEFORE) | added
    assert set(document["model"]) == {"name", "version", "bundle_sha256"}
    assert set(document["tile"]) == {"sha256", "format", "width_px", "height_px"}
    assert set(document["timing"]) == {"decode_s", "queue_s", "inference_s"}
    has_record = version == "2"
    assert document["prediction_set"]["status"] == ("available" if has_record else "unavailable")
    assert document["prediction_set"]["coverage"] == 0.9
    assert (document["prediction_set"]["reason"] is None) == has_record
    assert document["checks"]["max_distance"] == (GATE.max_distance if has_record else None)


def test_each_tile_of_a_batch_is_assessed(assessed: TestClient) -> None:
    files = [("files", ("t", content)) for content in (TISSUE, PHOTOGRAPH, b"junk")]
    first, second, third = assessed.post("/v1/classify/batch", files=files).json()["items"]
    assert first["result"]["review"] == {"required": False, "reasons": [], "priority": 0.1354}
    assert first["result"]["prediction_set"]["labels"] == ["non_tumor"]
    reasons = ["not_tissue"]
    assert second["result"]["review"] == {"required": True, "reasons": reasons, "priority": 1.0}
    assert "review" not in third


def test_metrics_count_answers_and_reviews(assessed: TestClient) -> None:
    assessed.post("/v1/classify", content=TISSUE)
    explain_grid(assessed, PHOTOGRAPH)
    explain(assessed, encode_tile(np.full_like(DRAWN, 255)))
    text = assessed.get("/metrics").text
    for line in (
        'osteo_predictions_total{label="non_tumor"} 3.0',
        'osteo_reviews_total{reason="not_tissue"} 2.0',
        'osteo_reviews_total{reason="blank"} 1.0',
        "osteo_reviewed_tiles_total 2.0",
        "osteo_probability_count 3.0",
        'osteo_probability_bucket{le="0.95"} 0.0',
        'osteo_probability_bucket{le="0.99"} 3.0',
        "osteo_distance_count 3.0",
        'osteo_population_stability_index{quantity="prediction"} NaN',
        'osteo_requests_total{route="/v1/explain",status="422"} 1.0',
    ):
        assert line in text, line
