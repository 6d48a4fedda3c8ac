"""Fuzz the routes with requests that the OpenAPI document allows, and with ones that it forbids.

No request may crash a route, and no route may answer with a status or body it does not document.
Schemathesis takes seconds to import, so the tests import it, not every process that collects them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from tests.described import openapi_document
from tests.servers import RunningServer, running_server

TOKEN = "a-long-secret-of-tests"
# A request to a route without parameters and body cannot be invalid.
CASES = [
    (path, method, mode)
    for path, operations in openapi_document()["paths"].items()
    for method, operation in operations.items()
    for mode in ("positive", "negative")
    if mode == "positive" or {"parameters", "requestBody"} & set(operation)
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("fuzz")
    with running_server(folder, OSTEO_ADMIN_TOKEN=TOKEN) as server:
        server.wait_until_ready()
        yield server


@pytest.fixture(scope="module")
def schema(server: RunningServer) -> Any:
    """The document, as Schemathesis reads it."""
    import schemathesis

    return schemathesis.openapi.from_url(f"{server.url}/openapi.json")


@pytest.mark.parametrize("n_requests", [3, pytest.param(15, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize(("path", "method", "mode"), CASES)
def test_every_route_conforms_to_its_description(
    server: RunningServer, schema: Any, path: str, method: str, mode: str, n_requests: int
) -> None:
    import schemathesis
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_headers_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    operation = schema[path][method]

    @given(case=operation.as_strategy(generation_mode=GenerationMode(mode)))
    @settings(max_examples=n_requests, deadline=None, suppress_health_check=list(HealthCheck))
    def send(case: schemathesis.Case[Any]) -> None:
        case.call_and_validate(
            checks=[
                not_a_server_error,
                status_code_conformance,
                content_type_conformance,
                response_headers_conformance,
                response_schema_conformance,
            ],
            timeout=60,
            headers={"Authorization": f"Bearer {TOKEN}"},  # the answers to wrong ones are delayed
        )

    send()
    assert server.client.get(f"{server.url}/readyz").status_code == 200
