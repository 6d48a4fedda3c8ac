"""Compressed bodies: accepted within the limits on bytes received and decompressed."""

from __future__ import annotations

import asyncio
import gzip
import zlib
from collections.abc import Sequence

import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.body import limited_body
from app.core.errors import MalformedRequestError
from tests.bundles import plain_tile
from tests.conftest import MakeClient

TILE = plain_tile((1, 200, 1))
GZIP = {"Content-Encoding": "gzip", "Content-Type": "image/png"}
MIB = 1024**2


class TooLargeError(Exception):
    pass


def read(chunks: Sequence[bytes], limit_bytes: int, taken: list[int] | None = None) -> bytes:
    """Read a gzip body that arrives in chunks."""
    messages = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    messages.append({"type": "http.request", "body": b"", "more_body": False})

    async def receive() -> dict[str, object]:
        return messages.pop(0)

    async def read_all() -> bytes:
        scope = {"type": "http", "method": "POST", "headers": [(b"content-encoding", b"gzip")]}
        take = (taken if taken is not None else []).append
        body = limited_body(Request(scope, receive), limit_bytes, TooLargeError(), take)
        return b"".join([piece async for piece in body])

    return asyncio.run(read_all())


def split(data: bytes, sizes: Sequence[int]) -> list[bytes]:
    chunks, start = [], 0
    for size in sizes:
        chunks.append(data[start : start + size])
        start += size
    return [*chunks, data[start:]]


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3), st.lists(st.integers(1, 40)))
def test_content_does_not_depend_on_chunks_and_members(
    members: list[bytes], sizes: list[int]
) -> None:
    stream = b"".join(map(gzip.compress, members))
    taken: list[int] = []
    assert read(split(stream, sizes), 1000, taken) == b"".join(members)
    assert sum(taken) == sum(map(len, members))


@given(st.data())
def test_truncated_stream_is_refused(data: st.DataObject) -> None:
    stream = gzip.compress(TILE)
    with pytest.raises(MalformedRequestError, match="gzip"):
        read([stream[: data.draw(st.integers(0, len(stream) - 1))]], MIB)


@pytest.mark.parametrize(
    "stream",
    [
        TILE,
        gzip.compress(TILE) + b"garbage",
        gzip.compress(TILE) + bytes(8),
        zlib.compress(TILE),
        gzip.compress(TILE)[:-8] + bytes(8),
        gzip.compress(b"") * 1000,
    ],
    ids=["plain", "trailing", "padding", "zlib", "checksum", "members"],
)
def test_wrong_stream_is_refused(stream: bytes) -> None:
    with pytest.raises(MalformedRequestError, match="gzip"):
        read([stream], MIB)


def test_bomb_is_not_decompressed_beyond_the_limit() -> None:
    bomb = gzip.compress(bytes(100 * MIB), 1)
    assert len(bomb) < MIB
    taken: list[int] = []
    with pytest.raises(TooLargeError):
        read([bomb], 3 * MIB, taken)
    assert sum(taken) <= 3 * MIB
    assert max(taken) <= MIB / 4


def test_bytes_without_content_are_limited_too() -> None:
    empty_blocks = gzip.compress(b"")[:10] + b"\x00\x00\x00\xff\xff" * 1000
    with pytest.raises(TooLargeError):
        read([empty_blocks] * 100, 10_000)


@pytest.mark.parametrize("coding", ["gzip", "GZIP", "x-gzip", " gzip "])
def test_compressed_tile_is_classified(client: TestClient, coding: str) -> None:
    headers = {**GZIP, "Content-Encoding": coding}
    answer = client.post("/v1/classify", content=gzip.compress(TILE), headers=headers)
    plain = client.post("/v1/classify", content=TILE)
    assert answer.json()["tile"] == plain.json()["tile"]


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_coding_that_changes_nothing_is_accepted(client: TestClient, coding: str) -> None:
    headers = {"Content-Encoding": coding}
    assert client.post("/v1/classify", content=TILE, headers=headers).status_code == 200


@pytest.mark.parametrize("route", ["/v1/classify", "/v1/classify/batch"])
def test_compressed_form_is_read(client: TestClient, route: str) -> None:
    field = "files" if "batch" in route else "file"
    form = client.build_request("POST", route, files={field: ("t", TILE)})
    headers = {"Content-Type": form.headers["Content-Type"], "Content-Encoding": "gzip"}
    answer = client.post(route, content=gzip.compress(form.read()), headers=headers)
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "coding", ["deflate", "br", "zstd", "gzip, gzip", "gzip,identity", "x" * 5000, "aws-chunked"]
)
@pytest.mark.parametrize("route", ["/v1/classify", "/v1/classify/batch"])
def test_other_codings_are_refused_with_those_that_are_accepted(
    client: TestClient, coding: str, route: str
) -> None:
    field = "files" if "batch" in route else "file"
    answer = client.post(route, files={field: ("t", TILE)}, headers={"Content-Encoding": coding})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (415, "/problems/unsupported-encoding")
    assert (answer.headers["Accept-Encoding"], problem["accepted"]) == ("gzip", ["gzip"])
    assert problem["coding"] == coding[:60]


def test_limits_hold_for_the_decompressed_tile(make_client: MakeClient) -> None:
    client = make_client(max_tile_bytes=100_000, max_request_bytes=200_000)
    bomb = gzip.compress(bytes(20 * MIB))
    answer = client.post("/v1/classify", content=bomb, headers=GZIP)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/tile-too-large")
    form = client.build_request("POST", "/", files={"files": ("t", bytes(300_000))})
    headers = {"Content-Type": form.headers["Content-Type"], "Content-Encoding": "gzip"}
    answer = client.post("/v1/classify/batch", content=gzip.compress(form.read()), headers=headers)
    assert (answer.status_code, answer.json()["type"]) == (413, "/problems/body-too-large")
    assert client.post("/v1/classify", content=TILE).status_code == 200


def test_decompressed_bytes_count_in_the_budget_of_uploads(make_client: MakeClient) -> None:
    client = make_client(max_upload_bytes=100_000)
    answer = client.post("/v1/classify", content=gzip.compress(bytes(MIB)), headers=GZIP)
    assert (answer.status_code, answer.json()["type"]) == (429, "/problems/uploads-full")
    assert "osteo_upload_bytes 0.0" in client.get("/metrics").text
