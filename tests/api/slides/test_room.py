"""Jobs and slides when there is no more room: in the queue, by the quota, on the disk."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from fastapi.testclient import TestClient

from app.core.slide_errors import JobsDiskFullError, JobsUnavailableError
from app.jobs.lease_table import LeaseTable
from tests.api.slides.finished_jobs import run_job
from tests.conftest import MakeClient
from tests.slides.drawn_slides import Drawing, draw_slide

MIB = 1024**2


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "slide.svs"
    draw_slide(path, Drawing(kind="svs", columns=3, rows=2, mpp=0.5))
    return path


@pytest.fixture
def slide(client: TestClient, slide_file: Path) -> str:
    return str(add(client, slide_file).headers["Location"])


def add(client: TestClient, file: Path, **given: object) -> Any:
    upload = client.put("/v1/uploads/slide.svs", content=file.read_bytes()).json()["id"]
    return client.post("/v1/slides", json={"upload": upload, **given})


def code_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


def service_of(client: TestClient) -> Any:
    app: Any = client.app
    return app.state.slides


def test_job_for_whose_results_the_quota_has_no_room_is_refused(
    make_slide_client: MakeClient, slide_file: Path
) -> None:
    client = make_slide_client(slides_quota_bytes=slide_file.stat().st_size + 9 * MIB)
    slide = add(client, slide_file).headers["Location"]
    shares = (0.1, 0.2, 0.3)  # each job may write 4 MiB and 4 KiB a tile
    answers = [client.post(f"{slide}/jobs", json={"min_tissue_share": s}) for s in shares]
    assert [answer.status_code for answer in answers] == [202, 202, 507]
    assert code_of(answers[2]) == "slides-full"
    assert client.delete(answers[0].headers["Location"]).status_code == 200
    again = client.post(f"{slide}/jobs", json={"min_tissue_share": 0.3})
    assert again.status_code == 202


def test_scale_of_the_job_decides_the_room_that_it_needs(
    make_slide_client: MakeClient, slide_file: Path
) -> None:
    room = 4 * MIB + 64 * 1024  # for 16 tiles
    client = make_slide_client(slides_quota_bytes=slide_file.stat().st_size + room)
    slide = add(client, slide_file).headers["Location"]
    refused = client.post(f"{slide}/jobs", json={"mpp": 2.0})
    assert refused.json()["n_bytes"] == 4 * MIB + 16 * 6 * 4096
    assert client.post(f"{slide}/jobs", json={"mpp": 0.5}).status_code == 202


def test_more_jobs_than_may_wait_are_refused_until_one_is_over(
    client: TestClient, slide: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.jobs.job_room.MAX_WAITING_JOBS", 2)
    first, second, third = (
        client.post(f"{slide}/jobs", json={"min_tissue_share": s}) for s in (0.1, 0.2, 0.3)
    )
    assert (first.status_code, second.status_code) == (202, 202)
    assert (third.status_code, code_of(third)) == (429, "too-many-jobs")
    assert third.headers["Retry-After"]
    known = client.post(f"{slide}/jobs", json={"min_tissue_share": 0.2})
    assert (known.status_code, known.json()["id"]) == (202, second.json()["id"])
    client.delete(first.headers["Location"])
    assert client.post(f"{slide}/jobs", json={"min_tissue_share": 0.3}).status_code == 202


def test_list_of_jobs_has_a_limit(client: TestClient, slide: str) -> None:
    for share in (0.1, 0.2, 0.3):
        newest = client.post(f"{slide}/jobs", json={"min_tissue_share": share}).json()["id"]
    assert len(client.get("/v1/jobs").json()["jobs"]) == 3
    assert [job["id"] for job in client.get("/v1/jobs?limit=1").json()["jobs"]] == [newest]
    for limit in ("0", "1001", "x"):
        assert code_of(client.get(f"/v1/jobs?limit={limit}")) == "invalid-request"


def test_other_resolution_does_not_replace_the_first_one(
    client: TestClient, slide: str, slide_file: Path
) -> None:
    refused = add(client, slide_file, mpp=0.6)
    assert (refused.status_code, code_of(refused)) == (409, "slide-exists")
    assert (refused.json()["mpp"], refused.json()["slide_id"]) == (0.5, slide.rsplit("/", 1)[1])
    assert client.get(slide).json()["slide"]["mpp_source"] == "file"
    assert client.post(f"{slide}/jobs").json()["parameters"]["mpp"] is None
    for given in ({}, {"mpp": 0.5}):
        assert add(client, slide_file, **given).status_code == 200
    assert client.get(slide).json()["slide"]["mpp_source"] == "file"


def test_results_stay_if_the_job_was_submitted_again_meanwhile(
    client: TestClient, slide: str, tmp_path: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    with mock.patch.object(LeaseTable, "delete", return_value=False):
        client.delete(job)
    assert client.get(f"{job}/results/summary.json").status_code == 200


def test_submission_on_a_full_disk_says_so(client: TestClient, slide: str) -> None:
    full = JobsDiskFullError("/secret/jobs.sqlite3")
    with mock.patch.object(LeaseTable, "submit", side_effect=full):
        answer = client.post(f"{slide}/jobs")
    assert (answer.status_code, code_of(answer)) == (507, "disk-full")
    assert "secret" not in answer.text
    assert client.post(f"{slide}/jobs").status_code == 202


@pytest.mark.parametrize("what", ["slide", "job"])
def test_deletion_on_a_full_disk_begins_with_the_files(
    client: TestClient, slide: str, tmp_path: Path, state_dir: Path, what: str
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    folder = state_dir / "slides" / "results" / job.rsplit("/", 1)[1]
    delete = LeaseTable.delete

    def delete_if_there_is_room(queue: LeaseTable, job_id: str) -> bool:
        if folder.exists():
            raise JobsDiskFullError("full")
        return delete(queue, job_id)

    with mock.patch.object(LeaseTable, "delete", delete_if_there_is_room):
        assert client.delete(slide if what == "slide" else job).status_code == 204
    assert not folder.exists()
    assert code_of(client.get(job)) == "job-not-found"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if mount is None or umount is None:
        pytest.skip("there is no program to mount a small file system with")
    command = [mount, "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a small file system")
    yield folder
    subprocess.run([umount, "-l", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Write until the disk is full, as another program may."""
    with (disk / "other").open("wb", buffering=0) as other:
        for size in (MIB, 512):
            with suppress(OSError):
                while True:
                    other.write(bytes(size))


def test_really_full_disk_is_freed_by_deleting_a_slide(
    make_slide_client: MakeClient, small_disk: Path, slide_file: Path, tmp_path: Path
) -> None:
    client = make_slide_client(state_dir=small_disk / "state", slides_quota_bytes=20 * MIB)
    slide = add(client, slide_file).headers["Location"]
    service_of(client).store.quota.require = mock.Mock()  # another program fills the disk
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    fill(small_disk)
    refused = client.post(f"{slide}/jobs", json={"mpp": 0.7})
    while refused.status_code == 202:  # the log of the database may have had room
        assert client.delete(refused.headers["Location"]).status_code in {200, 507}
        refused = client.post(f"{slide}/jobs", json={"mpp": 0.7})
    assert (refused.status_code, code_of(refused)) == (507, "disk-full")
    assert client.get(job).status_code == 200
    assert client.delete(slide).status_code == 204
    assert code_of(client.get(job)) == "job-not-found"


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/v1/uploads"), ("PUT", "/v1/uploads/x"), ("GET", "/v1/slides")]
)
def test_folder_that_cannot_be_made_is_named_without_its_path(
    make_slide_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
) -> None:
    (tmp_path / "file").write_bytes(b"not a folder")
    client = make_slide_client(state_dir=tmp_path / "file" / "state")
    headers = {"Upload-Length": "5", "Tus-Resumable": "1.0.0"}
    answer = client.request(method, path, content=b"x", headers=headers)
    assert (answer.status_code, code_of(answer)) == (503, "slide-store-unavailable")
    assert answer.headers["Retry-After"]
    events = [record for record in caplog.records if record.message == "slide_store_unavailable"]
    assert [vars(event)["reason"] for event in events] == ["Not a directory"]
    assert str(tmp_path) not in answer.text + caplog.text
    assert not [record for record in caplog.records if record.exc_info]
    assert client.get("/readyz").status_code == 200


def test_read_only_disk_is_named(client: TestClient, state_dir: Path) -> None:
    read_only = PermissionError(13, "Permission denied", str(state_dir / "slides"))
    with mock.patch("app.slides.storage.disk.Path.mkdir", side_effect=read_only):
        answer = client.put("/v1/uploads/x", content=b"x")
    assert (answer.status_code, code_of(answer)) == (503, "slide-store-unavailable")


def test_reason_of_a_failed_database_is_for_the_log_only(client: TestClient) -> None:
    error = JobsUnavailableError("jobs.sqlite3 on db.example.org")
    with mock.patch.object(LeaseTable, "list", side_effect=error):
        answer = client.get("/v1/jobs")
    assert code_of(answer) == "jobs-unavailable"
    assert "reason" not in answer.json()
    assert "example.org" not in answer.text


def test_queue_stays_usable_when_sqlite_is_full(
    make_slide_client: MakeClient, slide_file: Path
) -> None:
    client = make_slide_client()
    slide = add(client, slide_file).headers["Location"]
    assert client.get("/v1/jobs").status_code == 200
    connection: sqlite3.Connection = service_of(client)._queue._database._connection
    connection.execute("PRAGMA max_page_count = 1")  # SQLite takes what it has instead
    answers = []
    for number in range(100):
        answers.append(client.post(f"{slide}/jobs", json={"min_tissue_share": number / 100}))
        if [answer.status_code for answer in answers[-3:]] == [507] * 3:
            break
    assert answers[-1].json()["title"] == "Disk is full"
    assert client.get("/v1/jobs").status_code == 200
    assert connection is service_of(client)._queue._database._connection
