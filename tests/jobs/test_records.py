from __future__ import annotations

from pathlib import Path

import pytest

from app.jobs.records import JobRequest, settings_sha256
from app.settings import Settings
from tests.jobs.requests import a_request


def asked(settings: Settings) -> JobRequest:
    return a_request().model_copy(update={"settings_sha256": settings_sha256(settings)})


@pytest.mark.parametrize(
    "changed",
    [
        {"precision": "int8"},
        {"coverage": 0.8},
        {"review_min_probability": 0.7},
        {"review_max_distance": 0.2},
        {"slide_min_tumor_mm2": 5.0},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_setting_that_decides_the_answer_makes_another_job(changed: dict[str, object]) -> None:
    assert asked(Settings.model_validate(changed)).key != asked(Settings()).key


def test_other_settings_do_not(tmp_path: Path) -> None:
    settings = Settings(port=8001, state_dir=tmp_path, slide_threads=1, log_level="debug")
    assert asked(settings).key == asked(Settings()).key


def test_slide_bundle_and_parameters_make_another_job() -> None:
    keys = {a_request().key, a_request(1).key, a_request(mpp=0.5).key}
    other_bundle = a_request().model_copy(update={"bundle_sha256": "c" * 64})
    assert len({*keys, other_bundle.key}) == 4
