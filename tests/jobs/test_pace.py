"""How a job's progress follows from what its process tells."""

from __future__ import annotations

from app.jobs.pace import Pace
from app.jobs.records import JobProgress


def test_pace_leaves_out_what_earlier_attempts_did() -> None:
    now = [0.0]
    counted: list[int] = []
    pace = Pace(JobProgress(), counted.append, clock=lambda: now[0])
    pace.note("finding tissue", 0, None)
    pace.note("classifying", 320, 620)
    assert (pace.progress.n_done, pace.progress.tiles_per_s) == (320, None)
    now[0] = 2.0
    pace.note("classifying", 420, 620)
    assert (pace.progress.tiles_per_s, pace.progress.remaining_s) == (50.0, 4.0)
    now[0] = 4.0
    pace.note("classifying", 620, 620)
    pace.note("writing", 620, 620)
    assert (pace.progress.stage, pace.progress.tiles_per_s) == ("writing", 75.0)
    assert counted == [100, 200]


def test_pace_does_not_go_back_when_a_job_resumes() -> None:
    earlier = JobProgress(stage="waiting", n_done=320, n_tiles=620)
    counted: list[int] = []
    pace = Pace(earlier, counted.append)
    for stage in ("opening", "finding tissue"):
        pace.note(stage, 0, None)
        assert (pace.progress.n_done, pace.progress.n_tiles) == (320, 620)
    pace.note("classifying", 320, 620)
    assert counted == []
