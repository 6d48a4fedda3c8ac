"""Each route declares the problems that it can answer with, and no others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.load_shedding import TILE_PATHS
from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES
from app.core.manifest import LITERT_NAME
from tests.bundles import MODEL_NAME, build_bundle
from tests.contract.provoked import PROVOCATIONS, TOKEN, Stage, open_stage

ADMIN = {"Authorization": f"Bearer {TOKEN}"}
ALWAYS_DECLARED = {"internal-error", "invalid-request-id"}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with open_stage(tmp_path_factory.mktemp("stage")) as stage:
        for client in (stage.client, stage.hurried, stage.empty):
            client.event_hooks = {"response": [require_headers]}
        yield stage


def require_headers(answer: Any) -> None:
    """Every answer has the headers that the document declares."""
    assert answer.headers["X-Request-ID"]
    retry_after = answer.headers.get("Retry-After")
    assert (retry_after is not None) == (answer.status_code in {429, 503})
    assert retry_after is None or int(retry_after) >= 1


def codes_of(answers: Iterable[Any]) -> set[str]:
    kinds = (answer.get("type", "") for answer in answers)
    return {kind.removeprefix("/problems/") for kind in kinds if kind}


def declared_codes(client: TestClient, path: str, method: str = "post") -> set[str]:
    operation: dict[str, Any] = client.get("/openapi.json").json()["paths"][path][method]
    codes: set[str] = set()
    for status, response in operation["responses"].items():
        examples = response["content"].get(MEDIA_TYPE, {}).get("examples", {})
        assert {PROBLEM_TYPES[code].status for code in examples} <= {int(status)}
        assert all(f"`{code}`" in response["description"] for code in examples)
        codes |= set(examples)
    return codes


@pytest.mark.parametrize("path", sorted(TILE_PATHS))
def test_tile_route_declares_the_problems_that_it_answers(stage: Stage, path: str) -> None:
    answered = codes_of(provoke(stage, path) for provoke in PROVOCATIONS.values())
    assert answered == declared_codes(stage.client, path)


def test_activation_declares_the_problems_that_it_answers(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        damage(build_bundle(tmp_path / "models", "2"))

        def post(version: str, headers: dict[str, str] = ADMIN) -> Any:
            return stage.client.post(f"/v1/models/{version}/activate", headers=headers).json()

        answered = codes_of([post("1", {}), post("2"), post("3"), post("v1")])
        declared = declared_codes(stage.client, "/v1/models/{version}/activate")
    assert answered == declared - ALWAYS_DECLARED


def test_rollback_declares_the_problems_that_it_answers(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        client, path = stage.client, "/v1/models/rollback"
        denied, no_version = client.post(path), client.post(path, headers=ADMIN)
        build_bundle(tmp_path / "models", "2")
        stage.runtime.poison = lambda logits: logits
        assert client.post("/v1/models/2/activate", headers=ADMIN).status_code == 200
        damage(tmp_path / "models" / MODEL_NAME / "1")
        refused = client.post(path, headers=ADMIN)
        answered = codes_of(answer.json() for answer in (denied, no_version, refused))
        declared = declared_codes(client, path)
    assert answered == declared - ALWAYS_DECLARED


@pytest.mark.parametrize("path", ["/v1/models", "/readyz"])
def test_route_without_a_model_declares_that_it_is_not_ready(stage: Stage, path: str) -> None:
    answered = codes_of([stage.empty.get(path).json()])
    assert answered == declared_codes(stage.client, path, "get") - ALWAYS_DECLARED


def damage(bundle: Path) -> None:
    file = bundle / LITERT_NAME
    file.write_bytes(file.read_bytes()[::-1])
