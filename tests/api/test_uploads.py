"""Forms in chunks of any size, complete or damaged."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from app.api.uploads import read_tile, read_tiles
from app.core.errors import (
    BodyTooLargeError,
    MalformedRequestError,
    RequestError,
    TooManyTilesError,
)
from app.core.tile_errors import TileTooLargeError

BOUNDARY = b"frontier"


def take_all(_n_bytes: int) -> None:
    """An unlimited budget."""


def form(parts: Sequence[tuple[str, bytes]]) -> bytes:
    body = b""
    for name, content in parts:
        disposition = f'Content-Disposition: form-data; name="{name}"; filename="t.jpg"'.encode()
        body += b"--" + BOUNDARY + b"\r\n" + disposition + b"\r\n\r\n" + content + b"\r\n"
    return body + b"--" + BOUNDARY + b"--\r\n"


def request_of(chunks: Sequence[bytes], headers: dict[str, str]) -> Request:
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "headers": raw}, receive)


def form_request(body: bytes, chunk_sizes: Sequence[int] = ()) -> Request:
    chunks, start = [], 0
    for size in chunk_sizes:
        chunks.append(body[start : start + size])
        start += size
    chunks.append(body[start:])
    return request_of(
        chunks, {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    )


names = st.sampled_from(["files", "file", "note"])
parts = st.lists(st.tuples(names, st.binary(max_size=80)), min_size=1, max_size=5)
chunk_sizes = st.lists(st.integers(1, 60), max_size=20)


@given(parts, chunk_sizes)
def test_tiles_do_not_depend_on_the_chunks_of_the_body(
    sent: list[tuple[str, bytes]], sizes: list[int]
) -> None:
    expected = [content for name, content in sent if name == "files"]
    request = form_request(form(sent), sizes)
    if not expected:
        with pytest.raises(RequestError):
            asyncio.run(read_tiles(request, 100, 10_000, 10, take_all))
    else:
        tiles = asyncio.run(read_tiles(request, 100, 10_000, 10, take_all))
        assert [tile.content for tile in tiles] == expected


@given(st.data(), parts)
def test_truncated_form_is_rejected(data: st.DataObject, sent: list[tuple[str, bytes]]) -> None:
    body = form(sent)
    end = body.rindex(b"--\r\n")
    cut = data.draw(st.integers(1, end))
    with pytest.raises(RequestError):
        asyncio.run(read_tiles(form_request(body[:cut]), 100, 10_000, 10, take_all))


@given(st.binary(max_size=300), chunk_sizes)
def test_any_body_is_read_or_rejected(body: bytes, sizes: list[int]) -> None:
    with contextlib.suppress(RequestError):
        asyncio.run(read_tiles(form_request(body, sizes), 100, 10_000, 10, take_all))


def test_oversized_tile_is_replaced_by_an_error() -> None:
    tiles = asyncio.run(
        read_tiles(
            form_request(form([("files", bytes(101)), ("files", b"ok")])), 100, 10_000, 5, take_all
        )
    )
    assert isinstance(tiles[0].content, TileTooLargeError)
    assert tiles[1].content == b"ok"


def test_large_content_length_is_rejected_before_a_byte_is_read() -> None:
    async def receive() -> dict[str, object]:
        raise AssertionError("the body was read")

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"101")]}
    with pytest.raises(TileTooLargeError):
        asyncio.run(read_tile(Request(scope, receive), 100, take_all))


@pytest.mark.parametrize("digits", ["0" * 5000 + "5", "9" * 5001, "9" * 21, "5.0", "five", ""])
def test_content_length_that_is_no_reasonable_number_is_rejected(digits: str) -> None:
    with pytest.raises(MalformedRequestError, match="Content-Length"):
        asyncio.run(read_tile(request_of([b"x"], {"content-length": digits}), 100, take_all))


def test_content_length_may_have_leading_zeros() -> None:
    request = request_of([b"x"], {"content-length": "0000000001 "})
    assert asyncio.run(read_tile(request, 100, take_all)) == b"x"


def test_limit_holds_without_content_length() -> None:
    with pytest.raises(TileTooLargeError):
        asyncio.run(read_tile(request_of([bytes(60), bytes(60)], {}), 100, take_all))


def test_envelope_is_limited_too() -> None:
    chunks = [form([("note", bytes(200_000))])]
    headers = {"content-type": f"multipart/form-data; boundary={BOUNDARY.decode()}"}
    with pytest.raises(BodyTooLargeError):
        asyncio.run(read_tile(request_of(chunks, headers), 100, take_all))


def test_number_of_tiles_is_limited_while_reading() -> None:
    with pytest.raises(TooManyTilesError):
        asyncio.run(
            read_tiles(
                form_request(form([("files", b"a"), ("files", b"b")])), 100, 10_000, 1, take_all
            )
        )


@pytest.mark.parametrize("content_type", ["multipart/form-data", "multipart/form-data; boundary="])
def test_form_without_a_boundary_is_rejected(content_type: str) -> None:
    with pytest.raises(MalformedRequestError):
        asyncio.run(read_tile(request_of([b"x"], {"content-type": content_type}), 100, take_all))


def test_boundary_that_is_too_long_is_rejected() -> None:
    headers = {"content-type": "multipart/form-data; boundary=" + "x" * 500}
    with pytest.raises(MalformedRequestError):
        asyncio.run(read_tile(request_of([b"x"], headers), 100, take_all))


def test_number_of_fields_is_limited() -> None:
    with pytest.raises(MalformedRequestError, match="too many fields"):
        asyncio.run(
            read_tiles(form_request(form([("note", b"")] * 200)), 100, 100_000, 1, take_all)
        )


def test_headers_of_a_field_are_limited() -> None:
    with pytest.raises(MalformedRequestError):
        asyncio.run(
            read_tiles(form_request(form([("n" * 50_000, b"")])), 100, 100_000, 1, take_all)
        )
