"""Slides and jobs over HTTP, with real slides and with results as a run writes them."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.api.jobs import RESULT_TYPES
from app.api.problems import PROBLEM_TYPES
from app.jobs.records import JobFailure
from tests.api.slides.finished_jobs import run_job
from tests.conftest import MakeClient
from tests.described import openapi_document
from tests.slides.drawn_slides import FALSE_IDS, Drawing, draw_slide


@pytest.fixture(scope="module")
def slide_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("drawn") / "slide.svs"
    draw_slide(path, Drawing(kind="svs", columns=3, rows=2, mpp=0.5))
    return path


@pytest.fixture
def slide(client: TestClient, slide_file: Path) -> str:
    """Path of the route of a slide that was uploaded."""
    return add(client, slide_file)


def add(client: TestClient, file: Path, **given: object) -> str:
    upload = client.put("/v1/uploads/slide.svs", content=file.read_bytes()).json()["id"]
    answer = client.post("/v1/slides", json={"upload": upload, **given})
    assert answer.status_code == 201, answer.text
    return str(answer.headers["Location"])


def code_of(answer: Any) -> str:
    return str(answer.json()["type"]).removeprefix("/problems/")


def test_slide_is_inspected_and_its_upload_used_up(client: TestClient, slide_file: Path) -> None:
    upload = client.put("/v1/uploads/x", content=slide_file.read_bytes()).json()["id"]
    answer = client.post("/v1/slides", json={"upload": upload})
    found = answer.json()
    assert (answer.status_code, found["slide"]["mpp"]) == (201, 0.5)
    assert (found["columns"], found["rows"]) == (3, 2)
    assert 1 <= found["estimated_tiles"] <= 6
    assert found["id"] == found["sha256"]
    assert found["slide"]["n_bytes"] == slide_file.stat().st_size
    assert client.get(answer.headers["Location"]).json() == found
    assert client.get("/v1/slides").json()["slides"] == [found]
    assert code_of(client.post("/v1/slides", json={"upload": upload})) == "upload-not-found"


def test_slide_that_is_sent_again_is_kept_once(
    client: TestClient, slide: str, slide_file: Path, state_dir: Path
) -> None:
    upload = client.put("/v1/uploads/y", content=slide_file.read_bytes()).json()["id"]
    answer = client.post("/v1/slides", json={"upload": upload})
    assert (answer.status_code, answer.headers["Location"]) == (200, slide)
    assert not list((state_dir / "slides" / "incoming").iterdir())


def test_resolution_that_the_file_lacks_may_be_given_with_the_same_upload(
    client: TestClient, tmp_path: Path
) -> None:
    file = tmp_path / "slide.tif"
    draw_slide(file, Drawing(columns=2, rows=1, states_mpp=False))
    upload = client.put("/v1/uploads/x", content=file.read_bytes()).json()["id"]
    refused = client.post("/v1/slides", json={"upload": upload})
    assert (refused.status_code, code_of(refused)) == (422, "slide-resolution")
    taken = client.post("/v1/slides", json={"upload": upload, "mpp": 1.0})
    assert (taken.status_code, taken.json()["slide"]["mpp_source"]) == (201, "caller")
    job = client.post(f"{taken.headers['Location']}/jobs").json()
    assert job["parameters"]["mpp"] == 1.0


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"upload": "x", "mount": "archive", "path": "y"},
        {"mount": "archive"},
        {"study": "1.2"},
        {"study": "1.2/../3", "series": "1"},
        {"upload": "x", "mpp": 0},
        {"upload": "x", "mpp": 352.78},
        {"upload": "x", "name": "DOE"},
        {"upload": ["x"]},
    ],
)
def test_request_that_is_not_clear_is_refused(client: TestClient, body: dict[str, Any]) -> None:
    answer = client.post("/v1/slides", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid-request")


def test_path_out_of_its_mount_is_refused(
    make_slide_client: MakeClient, slide_file: Path, tmp_path: Path
) -> None:
    mount = tmp_path / "mount"
    (mount / "sub").mkdir(parents=True)
    shutil.copy(slide_file, tmp_path / "secret.tif")
    (mount / "link.tif").symlink_to(tmp_path / "secret.tif")
    (mount / "loop").symlink_to("loop")
    client = make_slide_client(slide_mounts=f"archive={mount}")
    for path in (
        *("../secret.tif", "sub/../../secret.tif", "/etc/passwd", "", ".", "..", "sub/.."),
        *("link.tif", "loop", "slide.tif\0.svs", "absent.tif", "x" * 1000, "\ud800"),
    ):
        body = json.dumps({"mount": "archive", "path": path}).encode()
        headers = {"Content-Type": "application/json"}
        answer = client.post("/v1/slides", content=body, headers=headers)
        assert answer.status_code == 422, path
        assert code_of(answer) in {"slide-path", "invalid-request"}, path
        assert str(tmp_path) not in answer.text


def test_slide_in_a_mount_stays_there(make_slide_client: MakeClient, tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    mount.mkdir()
    draw_slide(mount / "DOE_JANE.tif", Drawing(columns=2, rows=1))
    client = make_slide_client(slide_mounts=f"archive={mount}")
    place = {"mount": "archive", "path": "DOE_JANE.tif"}
    slide = client.post("/v1/slides", json=place).headers["Location"]
    assert client.get(f"{slide}/thumbnail").status_code == 200
    assert "DOE" not in client.get(slide).text
    assert client.delete(slide).status_code == 204
    assert (mount / "DOE_JANE.tif").exists()
    assert code_of(client.get(slide)) == "slide-not-found"


def test_name_on_the_label_reaches_no_picture_file_or_answer(
    client: TestClient, slide: str, state_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [client.get(f"{slide}{part}") for part in ("", "/thumbnail", "/dzi")]
    answers.append(client.get(f"{slide}/dzi_files/9/0_0.jpeg"))
    kept = [p for p in state_dir.rglob("*") if p.is_file() and p.name != "slide"]
    content = b"".join([*(answer.content for answer in answers), *(p.read_bytes() for p in kept)])
    for name in FALSE_IDS:
        assert name.encode() not in content
        assert name not in caplog.text


def test_pictures_carry_no_metadata(client: TestClient, slide: str, tmp_path: Path) -> None:
    for path in ("thumbnail", "dzi_files/9/0_0.jpeg", "dzi_files/12/3_3.jpeg"):
        file = tmp_path / "picture.jpeg"
        file.write_bytes(client.get(f"{slide}/{path}").content)
        with Image.open(file) as picture:
            assert not picture.getexif()
            assert set(picture.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}


def test_tile_that_the_picture_lacks_is_not_found(client: TestClient, slide: str) -> None:
    for tile in ("14/0_0", "99/0_0", "12/99_0", "12/0_99", "-1/0_0", "3/a_b"):
        answer = client.get(f"{slide}/dzi_files/{tile}.jpeg")
        assert answer.status_code in {404, 422}, tile


def test_job_is_queued_once_and_its_results_are_served(
    client: TestClient, slide: str, tmp_path: Path
) -> None:
    first = client.post(f"{slide}/jobs")
    again = client.post(f"{slide}/jobs", json={"min_tissue_share": 0.1})
    assert (first.status_code, again.status_code) == (202, 202)
    job = first.headers["Location"]
    assert job == again.headers["Location"]
    assert code_of(client.get(f"{job}/results/summary.json")) == "job-state"
    run_job(client, tmp_path / "manifest")
    answered = client.post(f"{slide}/jobs")
    assert (answered.status_code, answered.json()["state"]) == (200, "succeeded")
    results = client.get(job).json()["results"]
    assert set(results) == set(RESULT_TYPES) - {"annotations.dcm"}
    for name, path in results.items():
        result = client.get(path)
        assert (result.status_code, result.headers["content-type"]) == (200, RESULT_TYPES[name])


def test_nothing_but_results_is_served_from_the_folder_of_a_job(
    client: TestClient, slide: str, tmp_path: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    for name in ("tiles.sqlite3", ".lock", "%2e%2e%2f%2e%2e", "summary.json%00", "%5c"):
        assert client.get(f"{job}/results/{name}").status_code == 404


def test_report_may_load_and_run_nothing(client: TestClient, slide: str, tmp_path: Path) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    policy = client.get(f"{job}/results/report.html").headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "http" not in policy


def test_results_that_were_deleted_are_made_again(
    client: TestClient, slide: str, tmp_path: Path, state_dir: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    (state_dir / "slides" / "results" / job.rsplit("/", 1)[1] / "summary.json").unlink()
    assert client.post(f"{slide}/jobs").json()["state"] == "queued"


def test_failed_job_says_why(client: TestClient, slide: str, tmp_path: Path) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path, JobFailure(code="corrupt-slide", detail="It ends in the middle."))
    found = client.get(job).json()
    assert (found["state"], found["failure"]["code"]) == ("failed", "corrupt-slide")
    assert found["results"] == {}


def test_job_is_cancelled_and_then_deleted(client: TestClient, slide: str) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    assert code_of(client.delete(slide)) == "slide-in-use"
    assert client.delete(job).json()["state"] == "cancelled"
    assert client.delete(job).status_code == 204
    assert code_of(client.get(job)) == "job-not-found"


def test_slide_is_deleted_with_its_jobs_and_results(
    client: TestClient, slide: str, tmp_path: Path, state_dir: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    run_job(client, tmp_path / "manifest")
    assert client.delete(slide).status_code == 204
    assert code_of(client.get(job)) == "job-not-found"
    assert not [p for p in (state_dir / "slides").rglob("*") if p.is_file()]


def test_specimen_is_summed_over_its_slides(client: TestClient, slide: str, tmp_path: Path) -> None:
    jobs = []
    for mpp in (None, 0.6):
        jobs.append(client.post(f"{slide}/jobs", json={"mpp": mpp}).json()["id"])
        run_job(client, tmp_path / "manifest")
    answer = client.post("/v1/specimens", json={"jobs": jobs[:1]})
    one = client.get(f"/v1/jobs/{jobs[0]}/results/summary.json").json()["necrosis"]
    assert answer.json()["necrosis"]["n_viable"] == one["n_viable"]
    twice = client.post("/v1/specimens", json={"jobs": jobs})
    assert (twice.status_code, code_of(twice)) == (422, "specimen-mixed")


def test_events_tell_of_the_job_until_it_is_over(
    client: TestClient, slide: str, tmp_path: Path
) -> None:
    job = client.post(f"{slide}/jobs").headers["Location"]
    worker = threading.Timer(0.2, run_job, (client, tmp_path / "manifest"))
    worker.start()
    with client.stream("GET", f"{job}/events") as answer:
        assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
        lines = list(answer.iter_lines())
    worker.join()
    states = [json.loads(line[6:])["state"] for line in lines if line.startswith("data: ")]
    assert (states[0], states[-1]) == ("queued", "succeeded")
    assert lines.count("event: job") == len(states)


def test_broken_queue_is_told_and_does_not_end_the_service(
    make_slide_client: MakeClient, tmp_path: Path, slide_file: Path
) -> None:
    client, state_dir = make_slide_client(), tmp_path / "state"
    slide = add(client, slide_file)
    (state_dir / "jobs.sqlite3").unlink(missing_ok=True)
    (state_dir / "jobs.sqlite3").mkdir()
    client = make_slide_client()
    answer = client.post(f"{slide}/jobs")
    assert (answer.status_code, code_of(answer)) == (503, "jobs-unavailable")
    assert answer.headers["Retry-After"]
    assert str(state_dir) not in answer.text
    assert client.get("/readyz").status_code == 200


def declared() -> Iterator[tuple[str, set[str]]]:
    for path, operations in openapi_document()["paths"].items():
        for method, operation in operations.items():
            codes: set[str] = set()
            for response in operation["responses"].values():
                content = response.get("content", {}).get("application/problem+json", {})
                codes |= set(content.get("examples", {}))
            yield f"{method} {path}", codes


def test_every_problem_of_slides_is_declared_by_a_route() -> None:
    codes = set().union(*(found for _, found in declared()))
    assert set(PROBLEM_TYPES) - codes <= {"not-found", "method-not-allowed", "origin-denied"}
