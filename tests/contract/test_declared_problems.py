"""Each route declares the problems that it can answer with, and no others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.api.load_shedding import TILE_PATHS
from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES
from app.core.manifest import LITERT_NAME
from tests.bundles import MODEL_NAME, build_bundle
from tests.contract.guarded import CALLER_PROVOCATIONS
from tests.contract.provoked import PROVOCATIONS, TOKEN, Stage, open_stage
from tests.described import openapi_document

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


def declared_codes(path: str, method: str = "post") -> set[str]:
    operation: dict[str, Any] = openapi_document()["paths"][path][method]
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
    assert answered == declared_codes(path)


def test_activation_declares_the_problems_that_it_answers(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        damage(build_bundle(tmp_path / "models", "2"))

        build_bundle(tmp_path / "models", "4")
        stage.runtime.poison = lambda logits: logits

        def post(version: str) -> Any:
            return stage.client.post(f"/v1/models/{version}/activate", headers=ADMIN).json()

        answered = codes_of([post("2"), post("3"), post("v1")])
        answered |= codes_of(of_callers(stage, "/v1/models/4/activate"))
        declared = declared_codes("/v1/models/{version}/activate")
    assert answered == declared - ALWAYS_DECLARED


def of_callers(stage: Stage, path: str) -> list[Any]:
    """One answer to each request that is refused because of its caller, or not recorded."""
    guarded = stage.guarded
    return [
        provoke(guarded, lambda headers: guarded.client.post(path, headers=headers).json())
        for provoke in CALLER_PROVOCATIONS.values()
    ]


def test_rollback_declares_the_problems_that_it_answers(tmp_path: Path) -> None:
    with open_stage(tmp_path) as stage:
        client, path = stage.client, "/v1/models/rollback"
        no_version = client.post(path, headers=ADMIN)
        build_bundle(tmp_path / "models", "2")
        stage.runtime.poison = lambda logits: logits
        assert client.post("/v1/models/2/activate", headers=ADMIN).status_code == 200
        guarded = stage.guarded
        switched = guarded.client.post("/v1/models/2/activate", headers=guarded.all_scopes)
        assert switched.status_code == 200
        of_caller = codes_of(of_callers(stage, path))
        damage(tmp_path / "models" / MODEL_NAME / "1")
        refused = client.post(path, headers=ADMIN)
        answered = codes_of(answer.json() for answer in (no_version, refused)) | of_caller
        declared = declared_codes(path)
    assert answered == declared - ALWAYS_DECLARED


@pytest.mark.parametrize("path", ["/v1/models", "/readyz"])
def test_route_without_a_model_declares_that_it_is_not_ready(stage: Stage, path: str) -> None:
    answered = codes_of([stage.empty.get(path).json()])
    for code in ("credentials-missing", "credentials-invalid", "identity-provider-unavailable"):
        answered |= codes_of([CALLER_PROVOCATIONS[code](stage.guarded, get_by(stage, path))])
    if path == "/v1/models":
        answered.add("audit-unavailable")  # if it cannot be recorded that there is no model
    assert answered == declared_codes(path, "get") - ALWAYS_DECLARED


def get_by(stage: Stage, path: str) -> Callable[[dict[str, str]], Any]:
    return lambda headers: stage.guarded.client.get(path, headers=headers).json()


def damage(bundle: Path) -> None:
    file = bundle / LITERT_NAME
    file.write_bytes(file.read_bytes()[::-1])
