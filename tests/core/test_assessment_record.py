from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from app.core.assessment_record import AssessmentRecord
from tests.records import a_record


def test_record_round_trips_through_json() -> None:
    record = a_record()
    assert AssessmentRecord.model_validate_json(record.model_dump_json()) == record


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("conformal", {"scores": [0.5, 0.4]}),
        ("conformal", {"scores": [float("nan")]}),
        ("conformal", {"split": "tile"}),
        ("gate", {"max_distance": float("inf")}),
        ("gate", {"max_distance": 0}),
        ("gate", {"min_contrast": float("nan")}),
        ("gate", {"min_stain_share": 1.1}),
        ("gate", {"absorption": [[0, 1], [0.6, 0.4], [0, 1]]}),
        ("gate", {"absorption": [[0, 1], [float("nan"), 1], [0, 1]]}),
        ("drift", {"probability": {"edges": [0.5], "counts": [1]}}),
        ("drift", {"probability": {"edges": [0.5, 0.4], "counts": [1, 1, 1]}}),
        ("drift", {"distance": {"edges": [0.5], "counts": [1, -1]}}),
        ("drift", {"surprise": 1}),
    ],
)
def test_invalid_record_is_rejected(part: str, change: dict[str, Any]) -> None:
    document = a_record().model_dump()
    document[part] |= change
    # Python writes NaN and Infinity, although they are not valid JSON.
    with pytest.raises(ValidationError):
        AssessmentRecord.model_validate_json(json.dumps(document))
