"""Provoke every answer and problem of the routes of whole slides."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from unittest import mock

from fastapi.testclient import TestClient
from pydantic import SecretStr

from app.api import slide_bodies
from app.core.slide_errors import JobsUnavailableError, SeriesNotFoundError
from app.core.slide_store_errors import TooManyJobsError
from app.settings import Settings
from tests.api.slides.finished_jobs import run_job
from tests.conftest import RELEASED_MODELS
from tests.contract.provoked import Document, client_of, document_of
from tests.slides.drawn_slides import Drawing, draw_slide

_TUS: Final = {"Tus-Resumable": "1.0.0"}
_CHUNK: Final = {**_TUS, "Content-Type": "application/offset+octet-stream"}
_UNKNOWN: Final = "f" * 64
_GONE_UPLOAD: Final = "/v1/uploads/" + "0" * 32 + "-7"


@dataclass(frozen=True, slots=True)
class SlideStage:
    """A service with a slide, a finished job and a waiting one.

    Attributes:
        client: of the service; nobody works on its jobs.
        mount: folder of the mount `archive`, in which `known.tif` is the slide.
        slide: path of the slide's route.
        done: path of the finished job's route.
        queued: path of the waiting job's route.
        answers: what was answered, by operation.
    """

    client: TestClient
    mount: Path
    slide: str
    done: str
    queued: str
    answers: dict[str, Document]


@contextmanager
def open_slide_stage(folder: Path, token: str) -> Iterator[SlideStage]:
    """Start the service with the newest released bundle; `folder` is empty."""
    mount = folder / "mount"
    mount.mkdir()
    draw_slide(mount / "known.tif")
    draw_slide(mount / "unscaled.tif", Drawing(columns=2, rows=1, states_mpp=False))
    draw_slide(mount / "changed.tif", Drawing(columns=2, rows=1))
    whole = (mount / "known.tif").read_bytes()
    (mount / "cut.tif").write_bytes(whole[:-100])
    (mount / "notes.txt").write_text("not a slide")
    settings = Settings(
        models_dir=RELEASED_MODELS,
        admin_token=SecretStr(token),
        state_dir=folder / "state",
        slide_workers=0,
        slide_mounts=f"archive={mount}",
        slides_quota_bytes=10**9,
        dicomweb_url="http://127.0.0.1:9/dicom-web",
    )
    with client_of(settings) as client:
        answers = {
            "create_upload": begin(client, 100),
            "put_upload": client.put("/v1/uploads/biopsy.tif", content=whole),
        }
        place = answers["create_upload"].headers["Location"]
        answers["get_upload"] = client.get(place)
        client.delete(place)
        upload = answers["put_upload"].json()["id"]
        answers["add_slide"] = client.post("/v1/slides", json={"upload": upload})
        slide = answers["add_slide"].headers["Location"]
        answers |= {"list_slides": client.get("/v1/slides"), "get_slide": client.get(slide)}
        answers["submit_job"] = client.post(f"{slide}/jobs")
        done = answers["submit_job"].headers["Location"]
        run_job(client, folder / "manifest")
        answers |= {"list_jobs": client.get("/v1/jobs"), "get_job": client.get(done)}
        answers["get_result"] = client.get(f"{done}/results/summary.json")
        jobs = {"jobs": [answers["get_job"].json()["id"]]}
        answers["sum_specimen"] = client.post("/v1/specimens", json=jobs)
        queued = client.post(f"{slide}/jobs", json={"mpp": 0.5}).headers["Location"]
        answers["end_job"] = client.delete(queued)
        client.post(f"{slide}/jobs", json={"mpp": 0.5})
        documents = {name: document_of(answer) for name, answer in answers.items()}
        yield SlideStage(client, mount, slide, done, queued, documents)


def begin(client: TestClient, length: int, **headers: str) -> Any:
    """Begin an upload."""
    return client.post("/v1/uploads", headers={**_TUS, "Upload-Length": str(length), **headers})


def _added(stage: SlideStage, **place: object) -> Any:
    return stage.client.post("/v1/slides", json={"mount": "archive", **place})


def _patched(stage: SlideStage, offset: str = "0", data: bytes = b"abc", **headers: str) -> Any:
    place = begin(stage.client, 2).headers["Location"]
    sent = {**_CHUNK, "Upload-Offset": offset, **headers}
    return stage.client.patch(place, content=data, headers=sent)


def _busy_upload(stage: SlideStage) -> Any:
    place = begin(stage.client, 2).headers["Location"]
    uploads = stage.client.app.state.slides.store.uploads  # type: ignore[attr-defined] # FastAPI's
    with uploads.writing(place.rsplit("/", 1)[1], 0):
        return stage.client.delete(place)


def _incomplete(stage: SlideStage) -> Any:
    upload = begin(stage.client, 2).json()["id"]
    return stage.client.post("/v1/slides", json={"upload": upload})


def _changed(stage: SlideStage) -> Any:
    slide = _added(stage, path="changed.tif").headers["Location"]
    with (stage.mount / "changed.tif").open("ab") as file:
        file.write(b"\0")
    return stage.client.post(f"{slide}/jobs")


def _with(patch: AbstractContextManager[Any], send: Callable[[SlideStage], Any]) -> Any:
    def provoke(stage: SlideStage) -> Any:
        with patch:
            return send(stage)

    return provoke


def _dead_queue(stage: SlideStage) -> Any:
    service = stage.client.app.state.slides  # type: ignore[attr-defined] # as above
    with mock.patch.object(service, "jobs", side_effect=JobsUnavailableError("gone")):
        return stage.client.get("/v1/jobs")


def _archive(stage: SlideStage) -> Any:
    uids = {"study": "1.2.3", "series": "1.2.3.4"}
    return stage.client.post("/v1/slides", json=uids)


def _get(path: str) -> Callable[[SlideStage], Any]:
    return lambda stage: stage.client.get(path.format(slide=stage.slide, job=stage.done))


def _specimen(stage: SlideStage) -> Any:
    job = stage.answers["get_job"]["id"]
    return stage.client.post("/v1/specimens", json={"jobs": [job, job]})


_FULL_DISK: Final = mock.Mock(free=0)
_UNREADABLE: Final = OSError(errno.EROFS, "Read-only file system")
SLIDE_PROVOCATIONS: Final[dict[str, Callable[[SlideStage], Any]]] = {
    "invalid-upload": lambda stage: stage.client.post("/v1/uploads", headers=_TUS),
    "upload-not-found": _get(_GONE_UPLOAD),
    "upload-offset": lambda stage: _patched(stage, offset="1"),
    "upload-incomplete": _incomplete,
    "tus-version": lambda stage: begin(stage.client, 2, **{"Tus-Resumable": "0.2.2"}),
    "upload-too-long": _patched,
    "upload-busy": _busy_upload,
    "upload-checksum": lambda stage: _patched(
        stage, data=b"ab", **{"Upload-Checksum": "sha1 AAAAAAAAAAAAAAAAAAAAAAAAAAA="}
    ),
    "too-many-uploads": _with(
        mock.patch.object(slide_bodies, "MAX_RECEIVING", 0),
        lambda stage: _patched(stage, data=b"ab"),
    ),
    "slides-full": lambda stage: begin(stage.client, 10**9 + 1),
    "disk-full": _with(
        mock.patch("app.slides.storage.quota.shutil.disk_usage", return_value=_FULL_DISK),
        lambda stage: begin(stage.client, 2),
    ),
    "slide-path": lambda stage: _added(stage, path="../state/keys.json"),
    "unsupported-slide": lambda stage: _added(stage, path="notes.txt"),
    "corrupt-slide": lambda stage: _added(stage, path="cut.tif"),
    "slide-too-large": lambda stage: begin(stage.client, 10**12),
    "slide-resolution": lambda stage: _added(stage, path="unscaled.tif"),
    "slide-reader": _with(
        mock.patch("app.slides.viewing.reader_process.TIMEOUT_S", 0.0),
        lambda stage: _added(stage, path="known.tif"),
    ),
    "slide-changed": _changed,
    "slide-not-found": _get(f"/v1/slides/{_UNKNOWN}"),
    "slide-in-use": lambda stage: stage.client.delete(stage.slide),
    "slide-archive": _archive,
    "series-not-found": _with(
        mock.patch("app.slides.dicom.dicomweb.fetch_series", side_effect=SeriesNotFoundError()),
        _archive,
    ),
    "slide-readers-busy": _with(
        mock.patch("app.slides.viewing.readers.MAX_WAITING", 0),
        _get("{slide}/dzi_files/9/0_0.jpeg"),
    ),
    "zoom-tile-not-found": _get("{slide}/dzi_files/9/99_0.jpeg"),
    "slide-exists": lambda stage: _added(stage, path="known.tif", mpp=0.7),
    "slide-store-unavailable": _with(
        mock.patch("app.slides.storage.uploads.os.open", side_effect=_UNREADABLE),
        lambda stage: begin(stage.client, 2),
    ),
    "too-many-jobs": _with(
        mock.patch("app.jobs.slide_service.require_room", side_effect=TooManyJobsError(100)),
        lambda stage: stage.client.post(f"{stage.slide}/jobs", json={"mpp": 0.7}),
    ),
    "job-not-found": _get(f"/v1/jobs/{_UNKNOWN}"),
    "job-state": lambda stage: stage.client.get(f"{stage.queued}/results/summary.json"),
    "result-not-found": _get("{job}/results/tiles.sqlite3"),
    "specimen-mixed": _specimen,
    "too-many-streams": _with(
        mock.patch("app.api.job_events.MAX_STREAMS", 0), _get("{job}/events")
    ),
    "jobs-unavailable": _dead_queue,
    "extra-missing": _with(
        mock.patch("app.api.slide_access.find_spec", return_value=None), _get("/v1/slides")
    ),
}
"""A request that is answered with the problem."""
