"""Routes that classify slides: submit a job, watch it, cancel it, and fetch its results."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import APIRouter, Body, Path, Query, Request, Response
from fastapi.responses import FileResponse

from app.api.content_policy import policy_of_page
from app.api.job_events import EVENT_STREAM, JobEvents
from app.api.openapi import BINARY
from app.api.request_context import SlideEvent
from app.api.slide_access import note, slide_problems, slide_router
from app.api.slide_json import JSON_PROBLEMS
from app.api.slide_schemas import JobAnswer, JobsAnswer, NewJob
from app.api.slides import SlideId, known_response
from app.api.tile_upload import json_response
from app.inference.results import ModelIdentity
from app.jobs.records import FINAL_STATES, Job, JobParameters, JobRequest, JobState, settings_sha256
from app.jobs.slide_service import SlideService
from app.serving.lifecycle import Lifecycle
from app.slides.results import SlideSummary
from app.slides.storage.stored_answers import read_summary

RESULT_TYPES: Final[Mapping[str, str]] = {
    "summary.json": "application/json",
    "tiles.csv": "text/csv; charset=utf-8",
    "tiles.geojson": "application/geo+json",
    "heatmap.png": "image/png",
    "heatmap.json": "application/json",
    "overlay.png": "image/png",
    "report.html": "text/html; charset=utf-8",
    "annotations.dcm": "application/dicom",
}
"""The results that a job can have; nothing else in its folder is served."""
_LISTED: Final = 100
_MAX_LISTED: Final = 1000
_REPORT: Final = "report.html"
_JOB: Final = ("job-not-found", "jobs-unavailable")
JobId = Annotated[str, Path(max_length=64, description="Identifies the job.")]
ResultName = Annotated[str, Path(max_length=64, description="Such as `summary.json`.")]


def build_router(slides: SlideService, lifecycle: Lifecycle) -> APIRouter:
    """The routes, bound to the slides and the model of a service."""
    router = slide_router(slides)
    events = JobEvents(slides, lifecycle.readiness)

    def answered(job: Job, request: Request) -> JobAnswer:
        root = request.scope.get("root_path", "")
        paths = {
            name: f"{root}/v1/jobs/{job.id}/results/{name}"
            for name in (RESULT_TYPES if job.state is JobState.SUCCEEDED else ())
            if (slides.store.results_of(job.id) / name).is_file()
        }
        return JobAnswer(**dict(job), results=paths)

    @router.post(
        "/slides/{slide_id}/jobs",
        status_code=202,
        response_model=JobAnswer,
        responses=slide_problems(
            *JSON_PROBLEMS,
            *("slide-not-found", "slide-changed", "jobs-unavailable", "not-ready"),
            *("too-many-jobs", "slides-full", "disk-full"),
        )
        | known_response("The same question was answered before.", JobAnswer),
    )
    async def submit_job(
        request: Request, slide_id: SlideId, new: Annotated[NewJob | None, Body()] = None
    ) -> Response:
        """Classify a slide in the background; `Location` is the job.

        The job of the same slide, model, parameters and settings is never worked on twice: the
        answer is 200 if it is over, and 202 while it waits or runs.
        """
        job, is_new = await slides.submit(
            await _request_of(slides, lifecycle, slide_id, new or NewJob())
        )
        if is_new:
            note(request, "job-submitted", _model(job), job=job.id, slide_sha256=job.slide_sha256)
        response = json_response(answered(job, request).model_dump_json())
        response.status_code = 200 if job.state in FINAL_STATES else 202
        root = request.scope.get("root_path", "")
        response.headers["Location"] = f"{root}/v1/jobs/{job.id}"
        return response

    @router.get("/jobs", responses=slide_problems("jobs-unavailable"))
    async def list_jobs(
        request: Request,
        slide_id: Annotated[
            str | None, Query(max_length=64, description="Only the jobs of this slide.")
        ] = None,
        limit: Annotated[
            int, Query(ge=1, le=_MAX_LISTED, description="At most so many jobs.")
        ] = _LISTED,
    ) -> JobsAnswer:
        """The newest jobs, or those of a slide, the newest first."""
        found = await slides.jobs(slide_id, limit)
        return JobsAnswer(jobs=[answered(job, request) for job in found])

    @router.get("/jobs/{job_id}", responses=slide_problems(*_JOB))
    async def get_job(request: Request, job_id: JobId) -> JobAnswer:
        """A job, its progress and its results."""
        return answered(await slides.job(job_id), request)

    @router.get(
        "/jobs/{job_id}/events",
        response_class=Response,
        responses=slide_problems(*_JOB, "too-many-streams")
        | {
            200: {
                "description": "Events named `job` whose data is the job, until it is over.",
                "content": {EVENT_STREAM: {"schema": {"type": "string"}}},
            }
        },
    )
    async def watch_job(request: Request, job_id: JobId) -> Response:
        """The job after each change, as server-sent events, until it is over."""
        return await events.stream(job_id, lambda job: answered(job, request).model_dump_json())

    @router.delete(
        "/jobs/{job_id}",
        response_model=JobAnswer,
        responses=slide_problems(*_JOB, "disk-full")
        | {204: {"description": "The job was over; it and its results were deleted."}},
    )
    async def end_job(request: Request, job_id: JobId) -> Response:
        """Cancel a job; or delete one that is over, with its results."""
        job = await slides.job(job_id)
        cancelled = await slides.end_job(job_id)
        event_name: SlideEvent = "job-deleted" if cancelled is None else "job-cancelled"
        note(request, event_name, _model(job), job=job_id, slide_sha256=job.slide_sha256)
        if cancelled is None:
            return Response(status_code=204)
        return json_response(answered(cancelled, request).model_dump_json())

    @router.get(
        "/jobs/{job_id}/results/{name}",
        response_class=Response,
        responses=slide_problems(*_JOB, "job-state", "result-not-found")
        | {
            200: {
                "description": "The file.",
                "content": {
                    media_type.split(";")[0]: {
                        "schema": {"type": "object"} if "json" in media_type else BINARY
                    }
                    for media_type in RESULT_TYPES.values()
                },
            }
        },
    )
    async def get_result(request: Request, job_id: JobId, name: ResultName) -> Response:
        """A result of a job: preliminary, and for research use only."""
        job, path = await slides.result(job_id, name, list(RESULT_TYPES))
        summary = await asyncio.to_thread(read_summary, path.parent)
        note_answer(request, job, summary, name)
        media_type = RESULT_TYPES[name]
        if name != _REPORT:
            return FileResponse(path, media_type=media_type)
        page = await asyncio.to_thread(path.read_text, "utf-8")
        policy = policy_of_page(page, img_src="data:", style_src="'unsafe-inline'")
        return Response(page, media_type=media_type, headers={"Content-Security-Policy": policy})

    return router


def note_answer(request: Request, job: Job, summary: SlideSummary, name: str) -> None:
    """Note that a slide's answer leaves the service; it is recorded before, as a tile's is."""
    note(
        request,
        "slide-answer",
        summary.model,
        job=job.id,
        result=name,
        slide_sha256=summary.sha256,
        necrosis_ratio=summary.necrosis.ratio,
    )


async def _request_of(
    slides: SlideService, lifecycle: Lifecycle, slide_id: str, new: NewJob
) -> JobRequest:
    record = await asyncio.to_thread(slides.store.record, slide_id)
    await asyncio.to_thread(slides.store.path_of, slide_id)  # is it still there?
    model = lifecycle.require_model().classifier.identity
    mpp = new.mpp if new.mpp is not None else record.mpp
    return JobRequest(
        slide_id=slide_id,
        slide_sha256=record.id,
        model_name=model.name,
        model_version=model.version,
        bundle_sha256=model.bundle_sha256,
        parameters=JobParameters(mpp=mpp, min_tissue_share=new.min_tissue_share),
        settings_sha256=settings_sha256(slides.settings),
    )


def _model(job: Job) -> ModelIdentity:
    return ModelIdentity(
        name=job.model_name, version=job.model_version, bundle_sha256=job.bundle_sha256
    )
