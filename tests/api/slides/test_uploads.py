"""Uploads over HTTP: tus 1.0 (https://tus.io/protocols/resumable-upload) and PUT."""

from __future__ import annotations

import base64
import hashlib
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.slides.storage.uploads import MAX_UPLOADS
from tests.conftest import MakeClient

TUS = {"Tus-Resumable": "1.0.0"}
CHUNK = {**TUS, "Content-Type": "application/offset+octet-stream"}
NAME = "DOE_JANE_1971.svs"


def begin(client: TestClient, length: int, **headers: str) -> str:
    answer = client.post("/v1/uploads", headers={**TUS, "Upload-Length": str(length), **headers})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def patch(client: TestClient, place: str, offset: object, data: bytes, **headers: str) -> Any:
    sent = {**CHUNK, "Upload-Offset": str(offset), **headers}
    return client.patch(place, content=data, headers=sent)


def code_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and path.parent.name == "incoming"]


def test_upload_arrives_in_parts(client: TestClient, state_dir: Path) -> None:
    place = begin(client, 10)
    first = patch(client, place, 0, b"01234")
    assert (first.status_code, first.headers["Upload-Offset"]) == (204, "5")
    head = client.head(place, headers=TUS)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == ("5", "10")
    assert head.headers["Cache-Control"] == "no-store"
    assert head.headers["Upload-Expires"].endswith("GMT")
    assert patch(client, place, 5, b"56789").headers["Upload-Offset"] == "10"
    (file,) = files_below(state_dir)
    assert file.read_bytes() == b"0123456789"


def test_upload_is_for_the_user_of_the_service_only(client: TestClient, state_dir: Path) -> None:
    patch(client, begin(client, 2), 0, b"ab")
    (file,) = files_below(state_dir)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert {stat.S_IMODE(folder.stat().st_mode) for folder in list(file.parents)[:2]} == {0o700}


def test_first_data_may_come_with_the_creation(client: TestClient) -> None:
    headers = {**CHUNK, "Upload-Length": "6"}
    answer = client.post("/v1/uploads", headers=headers, content=b"abc")
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (201, "3")


def test_options_say_what_is_supported(client: TestClient) -> None:
    answer = client.options("/v1/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == "1.0.0"
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        *("creation", "creation-with-upload", "expiration", "termination", "checksum"),
    }
    assert int(answer.headers["Tus-Max-Size"]) == 20 * 1024**3


def test_deleted_upload_is_gone(client: TestClient, state_dir: Path) -> None:
    place = begin(client, 10)
    assert client.delete(place, headers=TUS).status_code == 204
    assert code_of(client.get(place)) == "upload-not-found"
    assert not files_below(state_dir)


def test_method_may_be_overridden(client: TestClient) -> None:
    place = begin(client, 3)
    headers = {**CHUNK, "Upload-Offset": "0", "X-HTTP-Method-Override": "PATCH"}
    assert client.post(place, headers=headers, content=b"abc").headers["Upload-Offset"] == "3"
    assert client.post(place, headers={"X-HTTP-Method-Override": "DELETE"}).status_code == 204
    assert code_of(client.post(place)) == "invalid-upload"


@pytest.mark.parametrize("offset", [1, 4, 10**14])
def test_data_at_another_offset_is_refused(client: TestClient, offset: int) -> None:
    place = begin(client, 10)
    patch(client, place, 0, b"012")
    answer = patch(client, place, offset, b"x")
    assert (answer.status_code, code_of(answer), answer.json()["expected"]) == (
        *(409, "upload-offset"),
        3,
    )
    assert client.get(place).json()["offset"] == 3


@pytest.mark.parametrize("offset", ["-1", "", "x", "1.0", "1e3", "٣", "9" * 5000, "0x1"])
def test_offset_that_is_no_number_is_refused(client: TestClient, offset: str) -> None:
    headers = {**CHUNK, "Upload-Offset": offset.encode()}
    answer = client.patch(begin(client, 10), content=b"x", headers=headers)  # type: ignore[arg-type]  # bytes pass too
    assert (answer.status_code, code_of(answer)) == (400, "invalid-upload")


def test_data_beyond_the_length_is_refused_and_nothing_of_it_kept(client: TestClient) -> None:
    place = begin(client, 4)
    patch(client, place, 0, b"ab")
    answer = patch(client, place, 2, b"cde")
    assert (answer.status_code, code_of(answer)) == (413, "upload-too-long")

    def chunks() -> Iterator[bytes]:
        yield b"c"
        yield b"de"

    answer = client.patch(place, content=chunks(), headers={**CHUNK, "Upload-Offset": "2"})
    assert (answer.status_code, code_of(answer)) == (413, "upload-too-long")
    assert client.get(place).json()["offset"] == 2


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "md5"])
def test_checksum_vouches_for_the_data_of_a_request(client: TestClient, algorithm: str) -> None:
    place = begin(client, 6)
    right = base64.b64encode(hashlib.new(algorithm, b"abc").digest()).decode()
    wrong = base64.b64encode(hashlib.new(algorithm, b"abd").digest()).decode()
    refused = patch(client, place, 0, b"abc", **{"Upload-Checksum": f"{algorithm} {wrong}"})
    assert (refused.status_code, code_of(refused)) == (460, "upload-checksum")
    assert client.get(place).json()["offset"] == 0
    taken = patch(client, place, 0, b"abc", **{"Upload-Checksum": f"{algorithm} {right}"})
    assert taken.headers["Upload-Offset"] == "3"


@pytest.mark.parametrize("checksum", ["crc32 AAAA", "sha1 ?", "", "sha1"])
def test_checksum_that_cannot_be_read_is_refused(client: TestClient, checksum: str) -> None:
    answer = patch(client, begin(client, 3), 0, b"abc", **{"Upload-Checksum": checksum})
    assert answer.status_code in {400, 460}


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({}, 400, "invalid-upload"),
        ({"Upload-Length": "0"}, 400, "invalid-upload"),
        ({"Upload-Length": "-5"}, 400, "invalid-upload"),
        ({"Upload-Length": "1" * 16}, 400, "invalid-upload"),
        ({"Upload-Defer-Length": "1"}, 400, "invalid-upload"),
        ({"Upload-Length": str(20 * 1024**3 + 1)}, 413, "slide-too-large"),
        ({"Upload-Length": "1", "Tus-Resumable": "0.2.2"}, 412, "tus-version"),
    ],
)
def test_upload_is_not_begun(
    client: TestClient, state_dir: Path, headers: dict[str, str], status: int, code: str
) -> None:
    answer = client.post("/v1/uploads", headers={**TUS, **headers})
    assert (answer.status_code, code_of(answer)) == (status, code)
    assert not files_below(state_dir)
    if status == 412:
        assert answer.headers["Tus-Version"] == "1.0.0"


def test_patch_of_another_type_or_coding_is_refused(client: TestClient) -> None:
    place = begin(client, 3)
    plain = {"Content-Type": "application/octet-stream"}
    assert patch(client, place, 0, b"abc", **plain).status_code == 415
    assert patch(client, place, 0, b"abc", **{"Content-Encoding": "gzip"}).status_code == 415


def test_quota_is_asked_before_anything_is_accepted(
    make_slide_client: MakeClient, tmp_path: Path
) -> None:
    client = make_slide_client(slides_quota_bytes=1000)
    place = begin(client, 600)
    answer = client.post("/v1/uploads", headers={**TUS, "Upload-Length": "600"})
    assert (answer.status_code, code_of(answer)) == (507, "slides-full")
    answer = client.put("/v1/uploads/x", content=bytes(600))
    assert (answer.status_code, code_of(answer)) == (507, "slides-full")
    assert len(files_below(tmp_path)) == 1
    client.delete(place)
    begin(client, 600)


def test_number_of_uploads_is_limited(client: TestClient, state_dir: Path) -> None:
    begin(client, 1)
    folder = state_dir / "slides" / "incoming"
    for i in range(MAX_UPLOADS - 1):
        (folder / f"{i:032x}-1").touch()
    answer = client.post("/v1/uploads", headers={**TUS, "Upload-Length": "1"})
    assert (answer.status_code, code_of(answer)) == (429, "too-many-uploads")
    assert answer.headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    "upload_id",
    ["..", "%2e%2e%2fjobs", "%00", "x" * 64, "0" * 32 + "-0", "0" * 32 + "-5", "0" * 32 + "-5%0a"],
)
def test_id_that_is_none_is_not_found(client: TestClient, upload_id: str) -> None:
    begin(client, 5)
    answer = client.get(f"/v1/uploads/{upload_id}")
    assert answer.status_code in {404, 422}
    assert patch(client, f"/v1/uploads/{upload_id}", 0, b"a").status_code in {404, 405, 422}


def test_put_takes_a_whole_file_and_forgets_its_name(client: TestClient, state_dir: Path) -> None:
    content = bytes(range(256)) * 5000
    answer = client.put(f"/v1/uploads/{NAME}", content=content)
    assert answer.status_code == 201, answer.text
    upload = answer.json()
    assert (upload["offset"], upload["length"]) == (len(content), len(content))
    assert answer.headers["Location"] == f"/v1/uploads/{upload['id']}"
    (file,) = files_below(state_dir)
    assert file.read_bytes() == content
    assert not [path for path in state_dir.rglob("*") if "DOE" in path.name]
    assert "DOE" not in answer.text + str(answer.headers)


def test_put_goes_on_with_an_upload(client: TestClient) -> None:
    place = begin(client, 6)
    assert client.put(place, content=b"ab").json()["offset"] == 2
    rest = {"Content-Range": "bytes 2-5/6"}
    assert client.put(place, content=b"cdef", headers=rest).json()["offset"] == 6
    answer = client.put(place, content=b"cdef", headers=rest)
    assert (answer.status_code, code_of(answer)) == (409, "upload-offset")


@pytest.mark.parametrize("given", ["bytes 2-5/*", "bytes 5-2/6", "2-5/6", "bytes 2-9/6", "", "x"])
def test_range_that_cannot_be_read_is_refused(client: TestClient, given: str) -> None:
    answer = client.put(begin(client, 6), content=b"cdef", headers={"Content-Range": given})
    assert (answer.status_code, code_of(answer)) == (400, "invalid-upload")


def test_range_of_an_unknown_upload_is_not_found(client: TestClient) -> None:
    headers = {"Content-Range": "bytes 2-5/6"}
    answer = client.put("/v1/uploads/biopsy.svs", content=b"cdef", headers=headers)
    assert (answer.status_code, code_of(answer)) == (404, "upload-not-found")


def test_put_without_a_size_is_refused(client: TestClient) -> None:
    answer = client.put("/v1/uploads/x", content=iter([b"abc"]))
    assert (answer.status_code, code_of(answer)) == (400, "invalid-upload")
    assert client.put("/v1/uploads/x", content=b"").status_code == 400
