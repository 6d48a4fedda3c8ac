"""Fetch a series of slide images from a DICOMweb server (DICOM PS3.18), file by file to disk."""

from __future__ import annotations

import importlib.util
import logging
import math
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit, urlunsplit

from app.core.slide_errors import (
    ExtraMissingError,
    SeriesNotFoundError,
    SlideArchiveError,
    SlideFormatError,
    SlideTooLargeError,
)
from app.core.slide_limits import DEFAULT_SLIDE_LIMITS, SlideLimits
from app.slides.dicom.header import WHOLE_SLIDE_IMAGE, read_header
from app.slides.dicom.multipart import dicom_file
from app.telemetry.tracing import calling

if TYPE_CHECKING:
    from dicomweb_client import DICOMwebClient
    from requests import Session

CONNECT_WITHIN_S: Final = 10.0
READ_WITHIN_S: Final = 60.0
"""Between two pieces of an answer; archives on tape need a while for the first one."""
FETCH_WITHIN_S: Final = 3600.0

_MAX_INSTANCES: Final = 1000
_CHUNK_BYTES: Final = 1024**2
_UID: Final = re.compile(r"[0-9]+(\.[0-9]+)*")
_MAX_UID: Final = 64
_AS_STORED: Final = 'multipart/related; type="application/dicom"; transfer-syntax=*'
"""Without the last part servers decompress all frames."""
_INSTANCE, _CLASS, _IMAGE_TYPE = "00080018", "00080016", "00080008"
_NOT_FOUND: Final = (404, 410)
_TAKEN: Final = 200


def fetch_series(
    url: str,
    study_uid: str,
    series_uid: str,
    folder: Path,
    max_bytes: int,
    limits: SlideLimits = DEFAULT_SLIDE_LIMITS,
    within_s: float = FETCH_WITHIN_S,
) -> None:
    """Fetch the levels of a slide; label, overview and thumbnail stay on the server.

    Args:
        url: of the server, such as `https://pacs.example/dicom-web`; a name and a password in it
            are sent as basic authentication.
        study_uid: StudyInstanceUID.
        series_uid: SeriesInstanceUID.
        folder: empty; after an error it is empty again.
        max_bytes: of all files together.
        limits: checked on each file's header.
        within_s: time for all of it, in seconds.

    Raises:
        SeriesNotFoundError: the server has no such series, or no slide image in it.
        SlideArchiveError: the server cannot be reached, refuses, is too slow, or breaks off.
        SlideTooLargeError: more than `max_bytes`.
        SlideFormatError: a UID is none.
        CorruptSlideError: a file of it is damaged.
        ExtraMissingError: dicomweb-client is not installed.
        OSError: the disk is full.
    """
    if importlib.util.find_spec("dicomweb_client") is None:
        raise ExtraMissingError("Slides from a DICOMweb server", "dicom")
    for uid in (study_uid, series_uid):
        if len(uid) > _MAX_UID or not _UID.fullmatch(uid):
            raise SlideFormatError("a DICOM UID has digits and dots only, at most 64.")
    fetch = _Fetch(url, (study_uid, series_uid), max_bytes, limits)
    fetch.deadline_s = time.monotonic() + within_s
    try:
        with calling("DICOMweb") as trace_headers:
            fetch.add_headers(trace_headers)
            for number, instance in enumerate(fetch.instances(), start=1):
                fetch.save(instance, folder / f"{number:04}.dcm")
    except BaseException:
        for path in folder.glob("*.dcm"):
            path.unlink()
        raise
    finally:
        fetch.close()
    if not any(folder.iterdir()):
        raise SeriesNotFoundError


class _Fetch:
    def __init__(
        self, url: str, series: tuple[str, str], max_bytes: int, limits: SlideLimits
    ) -> None:
        self._series = series
        self._max_bytes, self._n_bytes = max_bytes, 0
        self._limits = limits
        self.deadline_s = math.inf
        self._base, self._session = _open_session(url)
        self._client = _open_client(self._base, self._session)

    def close(self) -> None:
        self._session.close()

    def add_headers(self, headers: Mapping[str, str]) -> None:
        self._session.headers.update(headers)

    def instances(self) -> list[str]:
        """UIDs of the instances that are levels, or may be."""
        with _archive_errors():
            found = self._client.search_for_instances(
                *self._series,
                fields=["ImageType", "SOPClassUID"],
                limit=_MAX_INSTANCES + 1,
            )
            if len(found) > _MAX_INSTANCES:
                raise SlideTooLargeError(len(found), _MAX_INSTANCES, "files")
            if not found:
                raise SeriesNotFoundError
            return [_text(each, _INSTANCE) for each in found if self._may_be_level(each)]

    def save(self, instance: str, path: Path) -> None:
        """Fetch one instance into a file, unless it turns out to be no level."""
        draft = path.with_suffix(".part")
        study, series = self._series
        address = f"{self._base}/studies/{study}/series/{series}/instances/{instance}"
        try:
            with draft.open("wb") as file, _archive_errors():
                self._stream(address, file)
            with draft.open("rb") as file:
                is_level = read_header(file, self._limits) is not None
            if is_level:
                draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _stream(self, address: str, file: Any) -> None:
        with self._session.get(
            address,
            headers={"Accept": _AS_STORED},
            stream=True,
            timeout=(CONNECT_WITHIN_S, READ_WITHIN_S),
        ) as answer:
            _require_taken(answer.status_code)
            chunks = answer.iter_content(_CHUNK_BYTES)
            for piece in dicom_file(answer.headers.get("Content-Type", ""), chunks):
                self._n_bytes += len(piece)
                if self._n_bytes > self._max_bytes:
                    raise SlideTooLargeError(self._n_bytes, self._max_bytes, "bytes")
                if time.monotonic() > self.deadline_s:
                    raise SlideArchiveError("it takes too long.")
                file.write(piece)

    def _may_be_level(self, found: dict[str, Any]) -> bool:
        if _values(found, _CLASS)[:1] not in ([], [WHOLE_SLIDE_IMAGE]):
            return False
        kind = _values(found, _IMAGE_TYPE)
        if not kind:
            instance = _text(found, _INSTANCE)
            metadata = self._client.retrieve_instance_metadata(*self._series, instance)
            kind = _values(metadata, _IMAGE_TYPE)
        return kind[2:3] == ["VOLUME"]


def _open_session(url: str) -> tuple[str, Session]:
    """The address without a name and a password, and a session that sends them."""
    from requests import Session

    parts = urlsplit(url)
    session = Session()
    if parts.username is not None:
        session.auth = (parts.username, parts.password or "")
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path.rstrip("/"), "", "")), session


def _open_client(base: str, session: Session) -> DICOMwebClient:
    from dicomweb_client import DICOMwebClient

    # It quotes what the server says.
    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)
    client = DICOMwebClient(base, session=session, timeout=(CONNECT_WITHIN_S, READ_WITHIN_S))
    # The caller can send the request again; retrying here would only make it wait.
    client.set_http_retry_params(retry=False)
    return client


@contextmanager
def _archive_errors() -> Iterator[None]:
    """Turn errors of HTTP into our own, without their texts: these quote addresses."""
    from requests import ConnectionError as NotConnectedError
    from requests import HTTPError, RequestException, Timeout

    try:
        yield
    except Timeout:
        raise SlideArchiveError(f"it does not answer within {READ_WITHIN_S:.0f} s.") from None
    except NotConnectedError:
        raise SlideArchiveError("it cannot be reached, or the connection broke off.") from None
    except HTTPError as error:
        if error.response is not None:
            _require_taken(error.response.status_code)
        raise SlideArchiveError("its answer cannot be read.") from None
    except RequestException:
        raise SlideArchiveError("its answer cannot be read, or breaks off.") from None
    except (ValueError, KeyError, TypeError, AttributeError):
        # dicomweb-client, on answers that are not what DICOMweb's rules say.
        raise SlideArchiveError("its answer is not what DICOMweb's rules say.") from None


def _require_taken(status: int) -> None:
    if status in _NOT_FOUND:
        raise SeriesNotFoundError
    if status in (401, 403):
        raise SlideArchiveError(f"it refuses (status {status}); check `OSTEO_DICOMWEB_URL`.")
    if status != _TAKEN:
        raise SlideArchiveError(f"it answers with status {status}.")


def _values(attributes: dict[str, Any], tag: str) -> list[Any]:
    """Values of an attribute in DICOM's JSON model (PS3.18, annex F)."""
    return list(attributes.get(tag, {}).get("Value", ()))


def _text(attributes: dict[str, Any], tag: str) -> str:
    values = _values(attributes, tag)
    if not values or not _UID.fullmatch(str(values[0])):
        raise SlideArchiveError("its answer is not what DICOMweb's rules say.")
    return str(values[0])
