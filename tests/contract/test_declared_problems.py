"""Each route that receives tiles declares the problems that it can answer with, and no others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.load_shedding import TILE_PATHS
from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES
from tests.contract.provoked import PROVOCATIONS, Stage, open_stage


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        yield stage


def declared_codes(client: TestClient, path: str) -> set[str]:
    operation: dict[str, Any] = client.get("/openapi.json").json()["paths"][path]["post"]
    codes: set[str] = set()
    for status, response in operation["responses"].items():
        examples = response["content"].get(MEDIA_TYPE, {}).get("examples", {})
        assert {PROBLEM_TYPES[code].status for code in examples} <= {int(status)}
        assert all(f"`{code}`" in response["description"] for code in examples)
        codes |= set(examples)
    return codes


@pytest.mark.parametrize("path", sorted(TILE_PATHS))
def test_tile_route_declares_the_problems_that_it_answers(stage: Stage, path: str) -> None:
    answers = [provoke(stage, path) for provoke in PROVOCATIONS.values()]
    answered = {str(answer["type"]) for answer in answers if "type" in answer}
    assert {kind.removeprefix("/problems/") for kind in answered} == declared_codes(
        stage.client, path
    )
