from __future__ import annotations

import re

import pytest

from app.api.request_context import REQUEST_ID_PATTERN, RequestContext, request_context


def context_of(*given: bytes) -> RequestContext:
    return request_context({"headers": [(b"x-request-id", value) for value in given]})


def test_context_is_the_same_for_every_caller() -> None:
    scope = {"type": "http", "headers": []}
    context = request_context(scope)
    context.log_fields["n_tiles"] = 1
    assert request_context(scope) is context
    # uvicorn and the load shedder copy a scope, but not its state.
    assert request_context({**scope}) is context


@pytest.mark.parametrize(
    "given", [b"lab-42", b"ORDER 4711/2", b"~", b"x" * 128, b'{"a": "\\"}', b"<b>^1&2|3"]
)
def test_request_id_of_the_client_is_taken_as_it_is(given: bytes) -> None:
    context = context_of(given)
    assert (context.request_id, context.request_id_error) == (given.decode(), None)


def test_blanks_around_a_header_do_not_belong_to_it() -> None:
    assert context_of(b" \tlab 42\t ").request_id == "lab 42"


@pytest.mark.parametrize(
    "given",
    [
        *((b"",), (b"  ",), (b"x" * 129,), (b"line\nbreak",), (b"a\tb",), (b"\x7f",)),
        *(("Grün".encode(),), (b"\xff",), (b"a", b"b"), (b"a", b"a")),
    ],
)
def test_any_other_request_id_is_refused_with_the_pattern(given: tuple[bytes, ...]) -> None:
    context = context_of(*given)
    assert re.fullmatch(r"[0-9a-f]{32}", context.request_id)
    assert context.request_id_error is not None
    assert context.request_id_error.pattern == REQUEST_ID_PATTERN
    assert REQUEST_ID_PATTERN in str(context.request_id_error)


def test_request_id_is_generated_if_none_is_given() -> None:
    context = context_of()
    assert re.fullmatch(r"[0-9a-f]{32}", context.request_id)
    assert context.request_id_error is None
