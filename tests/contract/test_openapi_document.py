"""The OpenAPI document has what generators of clients need."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES
from app.main import create_app
from app.settings import Settings
from tests.described import openapi_document

DOCUMENT = openapi_document()
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
}
RESPONSES = [
    (operation, status)
    for operation, description in OPERATIONS.items()
    for status in description["responses"]
]


def objects_below(part: Any) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        yield part
    if isinstance(part, (dict, list)):
        for below in part.values() if isinstance(part, dict) else part:
            yield from objects_below(below)


def test_operations_have_short_names() -> None:
    assert {name: operation["operationId"] for name, operation in OPERATIONS.items()} == {
        "POST /v1/classify": "classify",
        "POST /v1/classify/batch": "classify_batch",
        "POST /v1/explain": "explain",
        "POST /v1/explain/grid": "explain_grid",
        "GET /v1/models": "list_models",
        "POST /v1/models/{version}/activate": "activate_version",
        "POST /v1/models/rollback": "roll_back",
        "POST /v1/uploads": "create_upload",
        "GET /v1/uploads/{upload_id}": "get_upload",
        "PATCH /v1/uploads/{upload_id}": "append_to_upload",
        "DELETE /v1/uploads/{upload_id}": "delete_upload",
        "PUT /v1/uploads/{upload_id}": "put_upload",
        "POST /v1/slides": "add_slide",
        "GET /v1/slides": "list_slides",
        "GET /v1/slides/{slide_id}": "get_slide",
        "DELETE /v1/slides/{slide_id}": "delete_slide",
        "GET /v1/slides/{slide_id}/thumbnail": "slide_thumbnail",
        "GET /v1/slides/{slide_id}/dzi": "describe_zoom",
        "GET /v1/slides/{slide_id}/dzi_files/{level}/{tile}.jpeg": "zoom_tile",
        "POST /v1/slides/{slide_id}/jobs": "submit_job",
        "GET /v1/jobs": "list_jobs",
        "GET /v1/jobs/{job_id}": "get_job",
        "GET /v1/jobs/{job_id}/events": "watch_job",
        "DELETE /v1/jobs/{job_id}": "end_job",
        "GET /v1/jobs/{job_id}/results/{name}": "get_result",
        "POST /v1/specimens": "sum_specimen",
        "GET /livez": "livez",
        "GET /readyz": "readyz",
        "GET /metrics": "metrics",
    }


def test_document_names_its_licence() -> None:
    assert DOCUMENT["info"]["license"]["identifier"] == "Apache-2.0"


def test_tags_are_described_and_used() -> None:
    used = {tag for operation in OPERATIONS.values() for tag in operation["tags"]}
    assert used == {tag["name"] for tag in DOCUMENT["tags"] if tag["description"]}


@pytest.mark.parametrize(("root_path", "first"), [("", "/"), ("/osteo", "/osteo")])
def test_servers_are_relative_to_where_the_service_is(root_path: str, first: str) -> None:
    client = TestClient(create_app(Settings()), root_path=root_path)
    servers = client.get(f"{root_path}/openapi.json").json()["servers"]
    assert servers[0]["url"] == first
    assert all(server["url"].startswith("/") for server in servers)


@pytest.mark.parametrize(("operation", "status"), RESPONSES)
def test_response_declares_its_headers(operation: str, status: str) -> None:
    headers = OPERATIONS[operation]["responses"][status]["headers"]
    names = {"X-Request-ID"} | ({"Retry-After"} if status in {"429", "503"} else set())
    names |= {"WWW-Authenticate"} if status == "401" else set()
    if (operation, status) == ("POST /v1/explain", "200"):
        names |= {
            *("X-Osteo-Prediction", "X-Osteo-Probability", "X-Osteo-Explained"),
            *("X-Osteo-Glass-Share", "X-Osteo-Review", "X-Osteo-Review-Priority", "X-Osteo-Model"),
        }
    assert set(headers) == names
    assert all(name in DOCUMENT["components"]["headers"] for name in names)


@pytest.mark.parametrize(("operation", "status"), RESPONSES)
def test_failure_is_a_problem_with_real_examples(operation: str, status: str) -> None:
    content = OPERATIONS[operation]["responses"][status].get("content", {})
    if int(status) < 400:
        assert MEDIA_TYPE not in content
        return
    assert list(content) == [MEDIA_TYPE]
    assert content[MEDIA_TYPE]["schema"] == {"$ref": "#/components/schemas/Problem"}
    for code in content[MEDIA_TYPE]["examples"]:
        value = DOCUMENT["components"]["examples"][code]["value"]
        assert (value["type"], value["status"]) == (f"/problems/{code}", int(status))
        assert value["title"] == PROBLEM_TYPES[code].title


def test_every_json_answer_has_an_example() -> None:
    for name, operation in OPERATIONS.items():
        for status in {"200", "201", "202"} & set(operation["responses"]):
            content = operation["responses"][status]["content"]
            if "application/json" in content:
                assert content["application/json"]["examples"], name


def test_picture_is_only_a_picture_and_the_grid_only_json() -> None:
    picture = OPERATIONS["POST /v1/explain"]["responses"]["200"]["content"]
    assert picture == {"image/png": {"schema": {"type": "string", "format": "binary"}}}
    grid = OPERATIONS["POST /v1/explain/grid"]["responses"]["200"]["content"]
    assert list(grid) == ["application/json"]


def test_tiles_are_sent_in_a_form() -> None:
    bodies = {
        operation["operationId"]: list(operation["requestBody"]["content"])
        for operation in OPERATIONS.values()
        if "requestBody" in operation and operation["tags"] == ["tiles"]
    }
    tile_operations = ("classify", "classify_batch", "explain", "explain_grid")
    assert bodies == {name: ["multipart/form-data"] for name in tile_operations}


def test_only_probes_never_need_a_caller() -> None:
    assert set(map(frozenset, DOCUMENT["security"])) == {
        *(frozenset({"Bearer"}), frozenset({"ApiKey"})),
        frozenset(),  # where the service is open to everybody
    }
    is_open = {
        operation["operationId"]
        for operation in OPERATIONS.values()
        if operation.get("security") == []
    }
    assert is_open == {"livez", "readyz"}


def test_no_schema_is_one_that_generators_do_not_understand() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert not {name for name in schemas if "ValidationError" in name}
    for part in objects_below(schemas):
        assert "prefixItems" not in part
        assert part.get("type") != "array" or "items" in part


def test_document_is_the_same_when_it_is_asked_for_again(tmp_path: Path) -> None:
    app = create_app(Settings(models_dir=tmp_path))
    assert app.openapi() == app.openapi() == DOCUMENT
