"""The route that sums the slides of a specimen."""

from __future__ import annotations

import asyncio
from pathlib import Path

from fastapi import APIRouter, Request

from app.api.slide_access import note, slide_problems, slide_router
from app.api.slide_json import JSON_PROBLEMS
from app.api.slide_schemas import NewSpecimen
from app.jobs.slide_service import SUMMARY_NAME, SlideService
from app.slides.results import SpecimenSummary
from app.slides.storage.stored_answers import read_answer


def build_router(slides: SlideService) -> APIRouter:
    """The route, bound to the slides of a service."""
    router = slide_router(slides)

    @router.post(
        "/specimens",
        responses=slide_problems(
            *JSON_PROBLEMS,
            "job-not-found",
            "job-state",
            "jobs-unavailable",
            "result-not-found",
            "specimen-mixed",
        ),
    )
    async def sum_specimen(request: Request, new: NewSpecimen) -> SpecimenSummary:
        """The necrosis ratio over all slides of a specimen, from jobs that have succeeded."""
        found = [await slides.result(job_id, SUMMARY_NAME, [SUMMARY_NAME]) for job_id in new.jobs]
        summary = await asyncio.to_thread(_summed, [path.parent for _, path in found])
        note(
            request,
            "slide-answer",
            summary.model,
            slides_sha256=summary.slides,
            necrosis_ratio=summary.necrosis.ratio,
        )
        return summary

    return router


def _summed(folders: list[Path]) -> SpecimenSummary:
    from app.slides.necrosis.specimen import specimen_of

    return specimen_of([read_answer(folder) for folder in folders])
