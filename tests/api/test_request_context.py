from __future__ import annotations

import re

import pytest

from app.api.request_context import request_context


def test_context_is_the_same_for_every_caller() -> None:
    scope = {"type": "http", "headers": []}
    context = request_context(scope)
    context.log_fields["n_tiles"] = 1
    assert request_context(scope) is context
    # uvicorn and the load shedder copy a scope, but not its state.
    assert request_context({**scope}) is context


@pytest.mark.parametrize("given", [b"lab-42", b"a.b_c:d"])
def test_request_id_of_the_client_is_used(given: bytes) -> None:
    assert request_context({"headers": [(b"x-request-id", given)]}).request_id == given.decode()


@pytest.mark.parametrize("given", [b"", b"two words", b"line\nbreak", b"x" * 129])
def test_request_id_that_is_unsafe_to_log_is_replaced(given: bytes) -> None:
    request_id = request_context({"headers": [(b"x-request-id", given)]}).request_id
    assert re.fullmatch(r"[0-9a-f]{32}", request_id)
