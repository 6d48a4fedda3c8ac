"""Against a real Orthanc; `test_dicomweb_failures` has what it does not do."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from app.core.slide_errors import (
    SeriesNotFoundError,
    SlideArchiveError,
    SlideFormatError,
    SlideTooLargeError,
)
from app.slides.dicom.dicomweb import fetch_series
from tests.slides.dicom.conftest import opened
from tests.slides.dicom.drawn_dicom import Style, write_level
from tests.slides.dicom.orthanc import PASSWORD, Orthanc
from tests.slides.mosaic import FALSE_IDS

STUDY, SERIES = "1.2.3", "1.2.4"
PLENTY = 10**9


@pytest.fixture(scope="module")
def orthanc(series: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Orthanc]:
    server = Orthanc(tmp_path_factory.mktemp("orthanc"))
    server.start()
    try:
        server.store(sorted(series.glob("*.dcm")))
        yield server
    finally:
        server.stop()


def test_fetch_series_brings_the_levels_as_they_were_stored(
    orthanc: Orthanc, series: Path, tmp_path: Path
) -> None:
    fetch_series(orthanc.url, STUDY, SERIES, tmp_path, PLENTY)
    assert len(list(tmp_path.iterdir())) == len(list(series.glob("level*.dcm"))) == 3
    with opened(tmp_path) as fetched, opened(series) as stored:
        assert fetched.facts.levels == stored.facts.levels
        one, other = (source.read_square((0, 0), 512, 224) for source in (fetched, stored))
        assert (one == other).all()


def test_label_and_overview_stay_on_the_server(orthanc: Orthanc, tmp_path: Path) -> None:
    fetch_series(orthanc.url, STUDY, SERIES, tmp_path, PLENTY)
    kinds = [kind for path in tmp_path.iterdir() for kind in _kinds(path)]
    assert kinds == ["VOLUME"] * 3


def _kinds(path: Path) -> list[str]:
    content = path.read_bytes()
    return [kind for kind in ("VOLUME", "LABEL", "OVERVIEW") if f"\\{kind}\\".encode() in content]


def test_a_large_instance_is_fetched_in_flat_memory(orthanc: Orthanc, tmp_path: Path) -> None:
    import tracemalloc

    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (3072, 3072, 3), np.uint8)
    raw = Style(encoding="raw", photometric="RGB", uids=("1.2.30", "1.2.31", "1.2.32"))
    path = tmp_path / "large.dcm"
    write_level(pixels, 1.0, raw, path)
    assert path.stat().st_size > 28e6
    orthanc.store([path])
    folder = tmp_path / "fetched"
    folder.mkdir()
    tracemalloc.start()
    try:
        fetch_series(orthanc.url, "1.2.30", "1.2.31", folder, PLENTY)
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    (fetched,) = folder.iterdir()
    assert fetched.stat().st_size > 28e6
    assert peak_bytes < 20e6


def test_a_series_that_the_server_does_not_have_is_not_found(
    orthanc: Orthanc, tmp_path: Path
) -> None:
    with pytest.raises(SeriesNotFoundError, match="no such series"):
        fetch_series(orthanc.url, STUDY, "1.2.99", tmp_path, PLENTY)
    with pytest.raises(SeriesNotFoundError):
        fetch_series(f"{orthanc.url}-elsewhere", STUDY, SERIES, tmp_path, PLENTY)


def test_a_series_beyond_the_quota_leaves_nothing(orthanc: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(SlideTooLargeError, match="at most 30,000"):
        fetch_series(orthanc.url, STUDY, SERIES, tmp_path, 30_000)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_is_refused_without_repeating_it(
    orthanc: Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    url = orthanc.url.replace(PASSWORD, "wrong-secret")
    with pytest.raises(SlideArchiveError, match="status 401") as raised:
        fetch_series(url, STUDY, SERIES, tmp_path, PLENTY)
    assert "wrong-secret" not in f"{raised.value}{caplog.text}"


def test_nothing_of_the_patient_or_the_password_is_logged(
    orthanc: Orthanc, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    fetch_series(orthanc.url, STUDY, SERIES, tmp_path, PLENTY)
    assert not [word for word in (*FALSE_IDS, PASSWORD) if word in caplog.text]


@pytest.mark.parametrize("uid", ["", "1.2/../3", "1" * 65, "1..2", "Müller", "1.2\n"])
def test_what_is_no_uid_is_refused(uid: str, orthanc: Orthanc, tmp_path: Path) -> None:
    with pytest.raises(SlideFormatError, match="UID"):
        fetch_series(orthanc.url, STUDY, uid, tmp_path, PLENTY)
