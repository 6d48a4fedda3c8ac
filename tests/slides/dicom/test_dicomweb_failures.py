from __future__ import annotations

import errno
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.slide_errors import (
    CorruptSlideError,
    SeriesNotFoundError,
    SlideArchiveError,
    SlideError,
    SlideTooLargeError,
)
from app.slides.dicom import dicomweb
from app.slides.dicom.dicomweb import fetch_series
from app.slides.dicom.multipart import dicom_file
from tests.servers import free_port
from tests.slides.dicom.drawn_dicom import Style, write_level
from tests.slides.dicom.failing_archive import (
    BOUNDARY,
    Answer,
    answer,
    answer_json,
    answer_multipart,
    archive,
    found,
    multipart,
)

TYPE = f'multipart/related; type="application/dicom"; boundary="{BOUNDARY}"'
FOUND = answer_json([found()])
HTML = answer(b"<html>patient DOE^JANE</html>", "text/html")


@pytest.fixture(scope="module")
def level(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return level_of("VOLUME", tmp_path_factory.mktemp("level") / "one.dcm")


def level_of(kind: str, path: Path) -> bytes:
    write_level(np.full((512, 512, 3), 200, np.uint8), 1.0, Style(), path, kind)
    return path.read_bytes()


def fetch(url: str, folder: Path, **options: Any) -> None:
    fetch_series(url, "1.2.3", "1.2.4", folder, **{"max_bytes": 10**8, **options})


def test_a_file_that_comes_without_multipart_is_taken(level: bytes, tmp_path: Path) -> None:
    with archive(FOUND, answer(level, "application/dicom")) as url:
        fetch(url, tmp_path)
    assert (tmp_path / "0001.dcm").read_bytes() == level


def test_the_kind_of_an_instance_is_asked_for_if_a_search_does_not_say_it(
    level: bytes, tmp_path: Path
) -> None:
    search = answer_json([found(kind=None)])
    with archive(search, answer_multipart(level), answer_json([found("VOLUME")])) as url:
        fetch(url, tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    other = tmp_path / "other"
    other.mkdir()
    with (
        archive(search, answer_multipart(level), answer_json([found("LABEL")])) as url,
        pytest.raises(SeriesNotFoundError),
    ):
        fetch(url, other)


def test_a_label_that_a_search_calls_a_level_is_not_kept(tmp_path: Path) -> None:
    label = level_of("LABEL", tmp_path / "label.dcm")
    folder = tmp_path / "fetched"
    folder.mkdir()
    with archive(FOUND, answer_multipart(label)) as url, pytest.raises(SeriesNotFoundError):
        fetch(url, folder)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("search", "reason"),
    [
        (answer_json([], status=204), "no such series"),
        (answer_json([]), "no such series"),
        (answer(b"", "text/plain", 404), "no such series"),
        (answer(b"DOE^JANE", "text/plain", 500), "status 500"),
        (answer(b"", "text/plain", 503), "status 503"),
        (answer(b"", "text/plain", 403), "status 403"),
        (HTML, "answer"),
        (answer(b'{"no": "list"}', "application/dicom+json"), "answer"),
        (answer(b"[1, 2]", "application/dicom+json"), "answer"),
        (
            answer(b'[{"00080018": {"Value": ["../x"]}}]', "application/dicom+json"),
            "answer|no such",
        ),
        (answer(b"[{", "application/dicom+json", n_announced=99), "answer|broke"),
    ],
)
def test_a_search_that_fails_is_said_in_own_words(
    search: Answer, reason: str, tmp_path: Path
) -> None:
    with archive(search, HTML, HTML) as url, pytest.raises(SlideArchiveError) as raised:
        fetch(url, tmp_path)
    assert raised.match(reason)
    assert "DOE" not in str(raised.value)


@pytest.mark.parametrize(
    ("instance", "reason"),
    [
        (HTML, "not what DICOMweb"),
        (answer(b"", "text/plain", 404), "no such series"),
        (answer(b"", "text/plain", 500), "status 500"),
        (answer(b"", TYPE), "ends early"),
        (answer(b"\r\n" * 20_000, TYPE), "not what DICOMweb"),
        (answer_multipart(bytes(2000), has_end=False), "ends early"),
        (answer(multipart(bytes(2000)), TYPE, n_announced=9999), "breaks? off|broke off"),
        (answer(bytes(999), "application/dicom", n_announced=9999), "breaks? off|broke off"),
    ],
)
def test_an_instance_that_fails_leaves_nothing(
    instance: Answer, reason: str, tmp_path: Path
) -> None:
    with archive(FOUND, instance) as url, pytest.raises(SlideArchiveError, match=reason):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_was_fetched_before_a_failure_goes_too(level: bytes, tmp_path: Path) -> None:
    def send(handler: BaseHTTPRequestHandler) -> None:
        (answer_multipart(level) if handler.path.endswith("/1.2.5") else HTML)(handler)

    search = answer_json([found(), found(instance="1.2.6")])
    with archive(search, send) as url, pytest.raises(SlideArchiveError):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with archive(FOUND, answer_multipart(b"no DICOM")) as url, pytest.raises(CorruptSlideError):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_down_is_said(tmp_path: Path) -> None:
    url = f"http://name:secret@127.0.0.1:{free_port()}/dicom-web"
    with pytest.raises(SlideArchiveError, match="cannot be reached") as raised:
        fetch(url, tmp_path)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize("sends_a_part", [False, True])
def test_a_server_that_falls_silent_is_left(
    sends_a_part: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dicomweb, "READ_WITHIN_S", 0.5)
    is_over = threading.Event()

    def fall_silent(handler: BaseHTTPRequestHandler) -> None:
        if sends_a_part:
            answer(multipart(bytes(999), has_end=False), TYPE, n_announced=9999)(handler)
        is_over.wait()

    with archive(FOUND, fall_silent) as url:
        try:
            with pytest.raises(SlideArchiveError, match=r"does not answer|broke off"):
                fetch(url, tmp_path)
        finally:
            is_over.set()
    assert list(tmp_path.iterdir()) == []


def test_an_answer_that_takes_too_long_is_left(level: bytes, tmp_path: Path) -> None:
    slow = archive(FOUND, answer_multipart(level))
    with slow as url, pytest.raises(SlideArchiveError, match="too long"):
        fetch(url, tmp_path, within_s=0.0)


def test_a_series_of_too_many_instances_is_refused(tmp_path: Path) -> None:
    search = answer_json([found(instance=f"1.2.{number}") for number in range(1001)])
    with archive(search, HTML) as url, pytest.raises(SlideTooLargeError, match="files"):
        fetch(url, tmp_path)


def test_a_full_disk_leaves_nothing(
    level: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    whole = archive(FOUND, answer_multipart(level))
    with whole as url, pytest.raises(OSError, match="No space left"):
        fetch(url, tmp_path)
    assert list(tmp_path.iterdir()) == []


@given(
    file=st.binary(max_size=300) | st.just(b"\r\n--frontie\r\n--\r\n-\r"),
    size=st.integers(1, 40),
    preamble=st.sampled_from([b"", b"\r\n", b"a preamble\r\n"]),
)
def test_dicom_file_finds_the_part_however_the_answer_is_cut(
    file: bytes, size: int, preamble: bytes
) -> None:
    body = preamble + multipart(file)
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    assert b"".join(dicom_file(TYPE, chunks)) == file


@given(body=st.binary(max_size=300))
def test_dicom_file_refuses_other_answers(body: bytes) -> None:
    with pytest.raises(SlideError):
        b"".join(dicom_file(TYPE, [body]))
