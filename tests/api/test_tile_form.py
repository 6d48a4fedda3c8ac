"""What clients put into forms: a preamble, other field names, text, file names."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from app.api.tile_form import ReceivedTile, TileForm
from app.core.errors import MalformedRequestError, MissingTileError
from app.core.tile_errors import TextTileError
from tests.bundles import plain_tile

TILE = plain_tile((1, 200, 1))
BEGIN, END = b"--B\r\n", b"\r\n--B--\r\n"
JUNK = b"\xff\xd8\xff\0"


def part(disposition: str, content: bytes = JUNK) -> bytes:
    return f"Content-Disposition: form-data; {disposition}\r\n\r\n".encode() + content


def parse(body: bytes, sizes: Sequence[int] = (), field: str = "file") -> list[ReceivedTile]:
    form, start = TileForm(b"B", field, 10_000, 5), 0
    for size in sizes:
        form.write(body[start : start + size])
        start += size
    form.write(body[start:])
    return form.finish()


chunk_sizes = st.lists(st.integers(1, 30), max_size=30)


@pytest.mark.parametrize(
    "preamble",
    [
        b"",
        b"\r\n",
        b"\r\n\r\n",
        b"This is a multi-part message in MIME format.\r\n",
        b"--\r\n-\r\n--A\r\n --B\r\n",
        b"a--B\r\n\r\n",
        b"x" * 5000 + b"\r\n",
    ],
)
@given(sizes=chunk_sizes)
def test_preamble_is_skipped(preamble: bytes, sizes: list[int]) -> None:
    body = preamble + BEGIN + part('name="file"; filename="a"') + END
    assert parse(body, sizes) == [ReceivedTile(JUNK, "a")]


@given(st.binary(max_size=100), chunk_sizes)
def test_body_without_its_boundary_is_refused(body: bytes, sizes: list[int]) -> None:
    with pytest.raises(MalformedRequestError, match="boundary"):
        parse(body.replace(b"--B", b""), sizes)


@pytest.mark.parametrize("name", ["files[]", "image", "file[]", "File", " file", "upload"])
def test_missing_tile_lists_the_fields_that_came(name: str) -> None:
    body = (
        BEGIN + part('name="note"') + b"\r\n" + BEGIN + part(f'name="{name}"; filename="a"') + END
    )
    with pytest.raises(MissingTileError) as caught:
        parse(body)
    assert caught.value.fields == ("note", name)
    assert f"The form has the fields 'note', {name!r}." in str(caught.value)


def test_one_field_is_named_in_the_singular() -> None:
    with pytest.raises(MissingTileError, match=r"The form has the field 'files\[\]'\. Send one"):
        parse(BEGIN + part('name="files[]"; filename="a"') + END)


def test_listed_fields_are_few_short_and_printable() -> None:
    names = ["n" * 300, "a\x1b[31mb", *map(str, range(20))]
    body = b"".join(BEGIN + part(f'name="{name}"') + b"\r\n" for name in names) + END[2:]
    with pytest.raises(MissingTileError) as caught:
        parse(body)
    assert caught.value.fields == ("n" * 40 + "...", "a?[31mb", *map(str, range(6)))


def test_form_without_fields_is_a_missing_tile(client: TestClient) -> None:
    body = BEGIN + b"\r\n\r\nx" + END
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    problem = client.post("/v1/classify", content=body, headers=headers).json()
    assert (problem["type"], problem["fields"]) == ("/problems/missing-tile", [""])


@pytest.mark.parametrize(
    "text", ["tile.jpg", "/data/Müller/tile.jpg", "data:image/png;base64,AAAA\n" * 9, "ä" * 4000]
)
@given(sizes=chunk_sizes)
def test_text_without_a_file_name_is_no_file(text: str, sizes: list[int]) -> None:
    (tile,) = parse(BEGIN + part('name="file"', text.encode()) + END, sizes)
    assert isinstance(tile.content, TextTileError)
    assert "Did you forget the @? (curl -F file=@tile.jpg)" in str(tile.content)


@pytest.mark.parametrize("content", [TILE, JUNK, b"\x00", b""])
def test_binary_content_needs_no_file_name(content: bytes) -> None:
    assert parse(BEGIN + part('name="file"', content) + END) == [ReceivedTile(content, None)]


def test_text_with_a_file_name_is_judged_by_its_content() -> None:
    body = BEGIN + part('name="file"; filename="a.txt"', b"some text") + END
    assert parse(body) == [ReceivedTile(b"some text", "a.txt")]


@pytest.mark.parametrize(
    ("disposition", "file_name"),
    [
        ('filename="case 4, tile 7.jpg"', "case 4, tile 7.jpg"),
        ('filename="Größe.jpg"', "Größe.jpg"),
        ('filename="C:\\\\tiles\\\\a.jpg"', "a.jpg"),
        ("filename=bare.jpg", "bare.jpg"),
        ('filename="a%22b.jpg"', "a%22b.jpg"),
        ("filename*=utf-8''Gr%C3%B6%C3%9Fe.jpg", "Größe.jpg"),
        ("filename=\"=?utf-8?B?R3I=?=\"; filename*=UTF-8''Gr%C3%B6.jpg", "Grö.jpg"),
        ("filename*=iso-8859-1'de'Gr%F6.jpg", "Grö.jpg"),
        ('filename=""', None),
        ("", None),
    ],
)
def test_file_name_is_the_one_of_the_client(disposition: str, file_name: str | None) -> None:
    (tile,) = parse(BEGIN + part(f'name="file"; {disposition}') + END)
    assert tile.file_name == file_name


def test_batch_carries_the_file_names_and_logs_none(
    client: TestClient, caplog: pytest.LogCaptureFixture
) -> None:
    files = [("Jane Doe 1.png", TILE), ("broken.png", b"junk"), ("Grün.png", TILE)]
    with caplog.at_level(logging.DEBUG):
        answer = client.post("/v1/classify/batch", files=[("files", file) for file in files])
    items = answer.json()["items"]
    assert [item["file_name"] for item in items] == [name for name, _ in files]
    assert [item["problem"] is None for item in items] == [True, False, True]
    ours = [line for line in caplog.records if line.name != "httpx2"]
    assert not any("Jane" in str(vars(line)) for line in ours)


def test_batch_item_without_a_file_name_has_null(client: TestClient) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=B"}
    texts = (
        BEGIN + part('name="files"', TILE) + b"\r\n" + BEGIN + part('name="files"', b"a.jpg") + END
    )
    answer = client.post("/v1/classify/batch", content=texts, headers=headers)
    first, second = answer.json()["items"]
    assert first["file_name"] is None
    assert first["result"]["prediction"] == "non_viable_tumor"
    assert second["problem"]["type"] == "/problems/text-instead-of-file"
    assert "curl -F files=@tile.jpg" in second["problem"]["detail"]
