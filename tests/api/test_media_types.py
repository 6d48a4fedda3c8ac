"""Bodies are judged by their Content-Type before they are read."""

from __future__ import annotations

import asyncio
from typing import NoReturn

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from app.api.uploads import read_tile, read_tiles
from app.core.header_errors import MediaTypeError
from tests.bundles import plain_tile

TILE = plain_tile((1, 200, 1), format_="JPEG")
URLENCODED = "application/x-www-form-urlencoded"
REFUSED = [
    *("application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "text/plain"),
    *("multipart/related; type=image/jpeg; boundary=B", "multipart/mixed; boundary=B"),
    *("application/dicom", "application/xml", "text/html", "video/mp4", "jpeg"),
    *("application/zip", "application/dicom+json", "multipart/form-data-2; boundary=B", "*/*"),
]


def request_of(media_type: str) -> Request:
    async def receive() -> NoReturn:
        raise AssertionError("the body was read")

    headers = [(b"content-type", media_type.encode())]
    return Request({"type": "http", "method": "POST", "headers": headers}, receive)


@pytest.mark.parametrize("media_type", REFUSED)
def test_body_that_cannot_be_a_tile_is_refused_unread(media_type: str) -> None:
    for read in (
        read_tile(request_of(media_type), 100, lambda _: None),
        read_tiles(request_of(media_type), 100, 100, 1, lambda _: None),
    ):
        with pytest.raises(MediaTypeError) as caught:
            asyncio.run(read)
        assert caught.value.media_type == media_type.partition(";")[0].lower()


@pytest.mark.parametrize("media_type", ["image/jpeg", "application/octet-stream", URLENCODED])
def test_batch_that_is_announced_as_a_file_is_refused_unread(media_type: str) -> None:
    with pytest.raises(MediaTypeError, match="multipart/form-data is"):
        asyncio.run(read_tiles(request_of(media_type), 100, 100, 1, lambda _: None))


@pytest.mark.parametrize("route", ["/v1/classify", "/v1/classify/batch", "/v1/explain"])
def test_refusal_names_what_came_and_how_to_send_a_tile(client: TestClient, route: str) -> None:
    answer = client.post(route, json={"image": "data:image/jpeg;base64,/9j/4AAQ"})
    problem = answer.json()
    assert (answer.status_code, problem["type"]) == (415, "/problems/unsupported-media-type")
    assert problem["media_type"] == "application/json"
    assert "'application/json'" in problem["detail"]
    field = "files" if "batch" in route else "file"
    assert f"curl -F {field}=@tile.jpg" in problem["detail"]
    assert answer.headers["Accept"] == ", ".join(problem["accepted"])


def test_long_type_is_shown_short(client: TestClient) -> None:
    answer = client.post("/v1/classify", content=b"x", headers={"Content-Type": "x/" + "y" * 5000})
    assert len(answer.json()["detail"]) < 400


def test_intact_file_that_curl_announces_as_urlencoded_is_classified(client: TestClient) -> None:
    for format_ in ("JPEG", "PNG", "TIFF", "WEBP"):
        tile = plain_tile((1, 200, 1), format_=format_)
        answer = client.post("/v1/classify", content=tile, headers={"Content-Type": URLENCODED})
        assert answer.json()["tile"]["format"] == format_


@pytest.mark.parametrize(
    "body", [TILE.translate(None, b"\0\r\n"), b"image=%2F9j%2F4AAQ", b"file=tile.jpg&x=1"]
)
def test_urlencoded_body_that_is_no_file_is_refused(client: TestClient, body: bytes) -> None:
    answer = client.post("/v1/classify", content=body, headers={"Content-Type": URLENCODED})
    problem = answer.json()
    assert (answer.status_code, problem["media_type"]) == (415, URLENCODED)
    assert "curl -d announces this type and damages files" in problem["detail"]


def test_empty_body_is_an_empty_tile_whatever_its_type(client: TestClient) -> None:
    for headers in ({}, {"Content-Type": URLENCODED}, {"Content-Type": "image/png"}):
        answer = client.post("/v1/classify", content=b"", headers=headers)
        assert answer.json()["type"] == "/problems/empty-tile"
