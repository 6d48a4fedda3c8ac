"""Every failing route answers with a problem, and every problem is documented."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient

from app.api.problems import MEDIA_TYPE, PROBLEM_TYPES, install_handlers
from app.core import (
    access_errors,
    bundle_errors,
    errors,
    header_errors,
    slide_errors,
    slide_store_errors,
    tile_errors,
)
from app.settings import Settings
from tests.bundles import FakeRuntime, opener_of, plain_tile
from tests.conftest import REPOSITORY
from tests.contract.provoked import client_of
from tests.described import openapi_document

UPLOAD_ERRORS = (errors.TileError, errors.RequestError, errors.UnavailableError)


@pytest.fixture(scope="module")
def client(built_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    settings = Settings(models_dir=built_models, state_dir=tmp_path_factory.mktemp("state"))
    with client_of(settings, opener_of(FakeRuntime())) as client:
        yield client


@pytest.mark.parametrize(
    ("method", "path", "options", "status"),
    [
        ("GET", "/nowhere", {}, 404),
        ("GET", "/v1/classify", {}, 405),
        ("DELETE", "/readyz", {}, 405),
        ("POST", "/v1/models", {}, 405),
        ("POST", "/v1/classify", {"content": b"junk"}, 415),
        ("POST", "/v1/classify", {"content": b""}, 422),
        ("POST", "/v1/classify", {"files": {"x": b"1"}}, 422),
        ("POST", "/v1/classify", {"headers": {"content-type": "multipart/form-data"}}, 400),
        ("POST", "/v1/classify", {"content": bytes(21 * 1024**2)}, 413),
        ("POST", "/v1/classify/batch", {"content": b"junk"}, 422),
        ("POST", "/v1/classify/batch", {"files": [("files", plain_tile((1, 1, 1)))] * 65}, 413),
    ],
)
def test_every_failure_has_one_shape(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int
) -> None:
    answer = client.request(method, path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    problem = answer.json()
    assert {"type", "title", "status", "detail", "request_id"} <= set(problem)
    assert problem["status"] == status
    assert problem["type"].removeprefix("/problems/") in PROBLEM_TYPES
    assert problem["request_id"] == answer.headers["x-request-id"]
    if status == 405:
        assert answer.headers["allow"]
    else:
        assert status in documented_statuses(method, path) or status == 404


def test_other_status_of_a_library_is_a_problem_without_a_page() -> None:
    app = FastAPI()
    install_handlers(app)

    @app.get("/teapot")
    async def brew() -> None:
        raise HTTPException(418, headers={"X-Pot": "short"})

    answer = TestClient(app).get("/teapot")
    assert (answer.status_code, answer.headers["content-type"]) == (418, MEDIA_TYPE)
    assert (answer.json()["type"], answer.headers["X-Pot"]) == ("about:blank", "short")


def documented_statuses(method: str, path: str) -> set[int]:
    operation = openapi_document()["paths"].get(path, {}).get(method.lower(), {})
    return {int(status) for status in operation.get("responses", {})}


def test_openapi_documents_problem_json_for_every_failure() -> None:
    for path, operations in openapi_document()["paths"].items():
        for operation in operations.values():
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == [MEDIA_TYPE], (path, status)
                    assert response["description"], (path, status)


def defined_errors() -> set[type[errors.OsteoError]]:
    modules = (
        *(access_errors, bundle_errors, errors, header_errors),
        *(slide_errors, slide_store_errors, tile_errors),
    )
    classes = {
        error for module in modules for _, error in inspect.getmembers(module, inspect.isclass)
    }
    return {error for error in classes if issubclass(error, errors.OsteoError)}


def test_every_error_of_an_upload_has_a_problem_type_of_its_own() -> None:
    leaves = {
        error
        for error in defined_errors()
        if issubclass(error, UPLOAD_ERRORS) and error not in UPLOAD_ERRORS
    }
    assert {error.code for error in leaves} <= set(PROBLEM_TYPES) - {"internal-error"}


def test_every_code_has_a_problem_type() -> None:
    assert {error.code for error in defined_errors()} <= set(PROBLEM_TYPES)


def test_codes_of_errors_differ() -> None:
    codes = Counter(vars(error)["code"] for error in defined_errors() if "code" in vars(error))
    assert set(codes.values()) == {1}


def test_every_problem_is_documented_with_its_status() -> None:
    page = (REPOSITORY / "docs" / "problems.md").read_text()
    documented = dict(re.findall(r"^## `([a-z0-9-]+)` \((\d{3})\)$", page, re.MULTILINE))
    assert documented == {kind.code: str(kind.status) for kind in PROBLEM_TYPES.values()}


def test_error_tree_in_the_docstring_matches_the_code() -> None:
    drawn = set(re.findall(r"\b([A-Z][A-Za-z]+Error)\b", errors.__doc__ or ""))
    assert drawn == {error.__name__ for error in defined_errors()}
