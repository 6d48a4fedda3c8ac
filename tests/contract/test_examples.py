"""The examples of the OpenAPI document are what the service answers today."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest

from app.api.openapi import EXAMPLES_FILE
from tests.api.slides.forked_reading import forked_reading_processes
from tests.contract.real_answers import record

RECORDED: Final[dict[str, Any]] = json.loads(EXAMPLES_FILE.read_bytes())
VARIES: Final = frozenset(
    {"decode_s", "queue_s", "inference_s", "runtime", "precision", "device", "workers"}
    | {"retry_after_s", "estimated_s", "n_bytes", "offset", "length"}
    | {"request_id"}  # generated if the one that was sent is refused
)
VARYING_TEXTS: Final = {
    r"again in \d+ s": "again in N s",
    r"[0-9a-f]{32}-\d+": "UPLOAD",
    r"[0-9a-f]{64}": "SHA256",  # of a slide that an encoder has written today, or of its job
    r"\d{4}-\d\d-\d\dT[0-9:.]+Z": "TIME",
    r"(OpenSlide) [0-9.]+": r"\1 VERSION",
}


@pytest.fixture(scope="module")
def today(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    with forked_reading_processes():
        return record(tmp_path_factory.mktemp("examples"))


def comparable(value: Any, *, is_approximate: bool = False) -> Any:
    """The value without what varies; its numbers may become approximate."""
    if isinstance(value, dict):
        return {
            name: type(part).__name__
            if name in VARIES
            else comparable(part, is_approximate=is_approximate)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [comparable(part, is_approximate=is_approximate) for part in value]
    if is_approximate and isinstance(value, float):
        return pytest.approx(value, rel=2e-3, abs=2e-3)  # processors round differently
    return _shown(value) if isinstance(value, str) else value


def _shown(text: str) -> str:
    """The text without what is drawn by lot, is the time, or depends on an encoder's version."""
    for pattern, name in VARYING_TEXTS.items():
        text = re.sub(pattern, name, text)
    return text


def test_examples_are_recorded_for_the_same_names(today: dict[str, Any]) -> None:
    assert list(RECORDED) == list(today)


@pytest.mark.parametrize("name", RECORDED)
def test_example_is_the_answer_of_today(today: dict[str, Any], name: str) -> None:
    stale = f"python -m tests.contract.real_answers records the answers of today ({name})"
    expected = comparable(RECORDED[name], is_approximate=True)
    assert comparable(today[name]) == expected, stale
