"""A tile gets the same answer alone and in a batch, and every documented field is in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.settings import Settings
from tests.bundles import plain_tile
from tests.conftest import RELEASED_MODELS, REPOSITORY
from tests.contract.provoked import TILE, client_of
from tests.described import openapi_document
from tests.failing_tiles import FAILING_TILES


@pytest.fixture(scope="module")
def released() -> Iterator[TestClient]:
    with client_of(Settings(models_dir=RELEASED_MODELS)) as client:
        yield client


def without_timing(text: str) -> str:
    return re.sub(r'"timing":\{[^}]*\}', '"timing":{}', text)


@pytest.mark.parametrize("content", [TILE, plain_tile((255, 255, 255)), plain_tile((9, 9, 9), 99)])
def test_result_is_the_same_alone_and_in_a_batch(released: TestClient, content: bytes) -> None:
    alone = released.post("/v1/classify", files={"file": content})
    batch = released.post("/v1/classify/batch", files={"files": ("tile.png", content)})
    request_id = alone.json()["request_id"]
    expected = without_timing(alone.text).removesuffix(f',"request_id":"{request_id}"}}') + "}"
    assert (
        f'{{"index":0,"file_name":"tile.png","result":{expected},"problem":null}}'
        in without_timing(batch.text)
    )
    assert '"explanation":null' in expected


@pytest.mark.parametrize("code", sorted(FAILING_TILES))
def test_problem_is_the_same_alone_and_in_a_batch(released: TestClient, code: str) -> None:
    alone = released.post("/v1/classify", files={"file": FAILING_TILES[code]})
    batch = released.post("/v1/classify/batch", files={"files": ("tile.png", FAILING_TILES[code])})
    assert alone.json()["type"] == f"/problems/{code}"
    assert (
        f'{{"index":0,"file_name":"tile.png","result":null,"problem":{alone.text}}}' in batch.text
    )


def test_bar_chart_is_what_the_readme_says(released: TestClient) -> None:
    chart = (REPOSITORY / "docs" / "benchmarks-serving.png").read_bytes()
    answer = released.post("/v1/classify", files={"file": chart}).json()
    probability = answer["probabilities"][answer["prediction"]]
    readme = (REPOSITORY / "README.md").read_text()
    assert f'is\n"{answer["prediction"]}, {probability:.2f}" otherwise.**' in readme
    assert answer["review"]["required"]
    assert "not_tissue" in answer["review"]["reasons"]


def missing_fields(document: dict[str, Any], schema: dict[str, Any], value: Any) -> list[str]:
    """Fields that a schema describes and an answer lacks."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[1]
        return missing_fields(document, document["components"]["schemas"][name], value)
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if kinds:
        return missing_fields(document, kinds[0], value)
    if isinstance(value, list):
        return [gap for each in value for gap in missing_fields(document, schema["items"], each)]
    if not isinstance(value, dict):
        return []
    fields: dict[str, Any] = schema.get("properties", {})
    assert set(schema.get("required", ())) == set(fields), schema
    missing = [name for name in fields if name not in value]
    for name, field in fields.items():
        missing += missing_fields(document, field, value.get(name))
    return missing


@pytest.mark.parametrize(
    ("method", "path", "files"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/livez", None),
        ("GET", "/readyz", None),
        ("POST", "/v1/classify", [("file", TILE)]),
        ("POST", "/v1/classify/batch", [("files", TILE), ("files", b"junk")]),
        ("POST", "/v1/explain/grid", [("file", TILE)]),
    ],
)
def test_every_documented_field_is_required_and_sent(
    released: TestClient, method: str, path: str, files: Any
) -> None:
    document = openapi_document()
    success = document["paths"][path][method.lower()]["responses"]["200"]
    schema = success["content"]["application/json"]["schema"]
    answer = released.request(method, path, files=files)
    assert missing_fields(document, schema, answer.json()) == []


def test_missing_field_is_found(released: TestClient) -> None:
    document = openapi_document()
    answer = released.post("/v1/classify", files={"file": TILE}).json()
    del answer["prediction_set"]["reason"]
    schema = {"$ref": "#/components/schemas/ClassifyAnswer"}
    assert missing_fields(document, schema, answer) == ["reason"]
