"""What `JobQueue` promises, for both kinds of databases."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.jobs.queue import JobQueue
from app.jobs.records import MAX_ATTEMPTS, Job, JobFailure, JobProgress, JobState
from app.settings import Settings
from tests.jobs.conftest import OpenQueue
from tests.jobs.requests import a_request, change_rows, end_leases

CRASH = JobFailure(code="slide-process-crashed", detail="It crashed.")
LEASE_S = 1000.0


def leased(queue: JobQueue, worker: str = "w") -> Job:
    job = queue.lease(worker, LEASE_S)
    assert job is not None
    return job


def state_of(queue: JobQueue, job: Job) -> JobState:
    found = queue.get(job.id)
    assert found is not None
    return found.state


def test_submit_stores_the_request(queue: JobQueue, open_another: OpenQueue) -> None:
    request = a_request(mpp=0.5, min_tissue_share=0.25)
    job, is_new = queue.submit(request)
    assert is_new
    assert job == open_another().get(request.key)
    assert (job.id, job.state, job.attempts) == (request.key, JobState.QUEUED, 0)
    assert job.parameters == request.parameters


def test_submit_returns_the_same_job_when_it_was_asked_before(queue: JobQueue) -> None:
    first, _ = queue.submit(a_request())
    assert queue.submit(a_request()) == (first, False)
    running = leased(queue)
    assert queue.submit(a_request()) == (running, False)
    queue.finish(running.id, "w", None)
    job, is_new = queue.submit(a_request())
    assert (job.state, is_new) == (JobState.SUCCEEDED, False)


def test_submit_queues_another_question_about_the_same_slide(queue: JobQueue) -> None:
    queue.submit(a_request())
    _, is_new = queue.submit(a_request(mpp=0.5))
    assert is_new


@pytest.mark.parametrize("end", ["failed", "cancelled"])
def test_submit_queues_again_when_the_job_ended_without_success(queue: JobQueue, end: str) -> None:
    queue.submit(a_request())
    job = leased(queue)
    if end == "failed":
        queue.finish(job.id, "w", CRASH)
    else:
        queue.cancel(job.id)
    assert state_of(queue, job) == end
    again, is_new = queue.submit(a_request())
    assert is_new
    assert (again.state, again.attempts) == (JobState.QUEUED, 0)
    assert (again.failure, again.started, again.finished) == (None, None, None)


def test_lease_takes_the_oldest_job(queue: JobQueue) -> None:
    ids = [queue.submit(a_request(number))[0].id for number in range(5)]
    assert [leased(queue).id for _ in ids] == ids
    assert queue.lease("w", LEASE_S) is None


def test_lease_starts_the_job(queue: JobQueue) -> None:
    queue.submit(a_request())
    job = leased(queue)
    assert (job.state, job.attempts) == (JobState.RUNNING, 1)
    assert job.started is not None
    assert job.started >= job.created


def test_lease_takes_a_job_whose_lease_ran_out(queue: JobQueue, settings: Settings) -> None:
    queue.submit(a_request())
    first = leased(queue, "dead")
    assert queue.lease("b", LEASE_S) is None
    end_leases(settings)
    second = leased(queue, "b")
    assert (second.id, second.attempts, second.started) == (first.id, 2, first.started)


def test_dead_worker_can_change_nothing_when_another_has_the_job(
    queue: JobQueue, settings: Settings
) -> None:
    queue.submit(a_request())
    job = leased(queue, "paused")
    end_leases(settings)
    leased(queue, "b")
    assert not queue.renew(job.id, "paused", LEASE_S, JobProgress())
    assert not queue.finish(job.id, "paused", None)
    queue.release(job.id, "paused")
    queue.release(job.id, "paused", CRASH)
    assert state_of(queue, job) == JobState.RUNNING
    assert queue.finish(job.id, "b", None)


def test_late_worker_keeps_the_job_when_nobody_took_it(queue: JobQueue, settings: Settings) -> None:
    queue.submit(a_request())
    job = leased(queue, "late")
    end_leases(settings)
    assert queue.renew(job.id, "late", LEASE_S, JobProgress())
    assert queue.lease("b", LEASE_S) is None


def test_job_fails_when_its_worker_is_lost_in_every_attempt(
    queue: JobQueue, settings: Settings
) -> None:
    queue.submit(a_request())
    for _ in range(MAX_ATTEMPTS):
        job = leased(queue)
        end_leases(settings)
    assert queue.lease("w", LEASE_S) is None
    failed = queue.get(job.id)
    assert failed is not None
    assert failed.failure is not None
    assert (failed.state, failed.failure.code) == (JobState.FAILED, "worker-lost")
    assert failed.attempts == MAX_ATTEMPTS
    assert failed.finished is not None


def test_job_fails_with_the_reason_of_its_last_attempt(queue: JobQueue) -> None:
    queue.submit(a_request())
    for attempt in range(1, MAX_ATTEMPTS + 1):
        job = leased(queue)
        assert job.attempts == attempt
        queue.release(job.id, "w", CRASH)
    failed = queue.get(job.id)
    assert failed is not None
    assert (failed.state, failed.failure) == (JobState.FAILED, CRASH)


def test_failed_attempt_lets_others_go_first(queue: JobQueue) -> None:
    poison, _ = queue.submit(a_request(0))
    other, _ = queue.submit(a_request(1))
    queue.release(leased(queue).id, "w", CRASH)
    assert [leased(queue).id, leased(queue).id] == [other.id, poison.id]


def test_release_without_a_failure_keeps_place_and_attempts(queue: JobQueue) -> None:
    first, _ = queue.submit(a_request(0))
    queue.submit(a_request(1))
    for _ in range(MAX_ATTEMPTS + 2):
        job = leased(queue)
        assert (job.id, job.attempts) == (first.id, 1)
        queue.release(job.id, "w")


@pytest.mark.parametrize("failure", [None, CRASH])
def test_release_shows_that_the_job_waits(queue: JobQueue, failure: JobFailure | None) -> None:
    queue.submit(a_request())
    job = leased(queue)
    reached = JobProgress(stage="classifying", n_done=32, n_tiles=600, tiles_per_s=80.5)
    queue.renew(job.id, "w", LEASE_S, reached)
    queue.release(job.id, "w", failure)
    found = queue.get(job.id)
    assert found is not None
    assert found.progress == JobProgress(stage="waiting", n_done=32, n_tiles=600)
    queue.release("no such job", "w", failure)


def test_renew_stores_the_progress(queue: JobQueue) -> None:
    queue.submit(a_request())
    job = leased(queue)
    progress = JobProgress(stage="classifying", n_done=32, n_tiles=600, tiles_per_s=80.5)
    assert queue.renew(job.id, "w", LEASE_S, progress)
    found = queue.get(job.id)
    assert found is not None
    assert found.progress == progress


def test_cancel_stops_the_worker_at_its_next_renewal(queue: JobQueue) -> None:
    queue.submit(a_request())
    job = leased(queue)
    cancelled = queue.cancel(job.id)
    assert cancelled is not None
    assert cancelled.state == JobState.CANCELLED
    assert not queue.renew(job.id, "w", LEASE_S, JobProgress())
    assert not queue.finish(job.id, "w", None)
    assert queue.lease("w", LEASE_S) is None


def test_cancel_leaves_a_final_job_as_it_is(queue: JobQueue) -> None:
    queue.submit(a_request())
    job = leased(queue)
    queue.finish(job.id, "w", None)
    done = queue.get(job.id)
    assert queue.cancel(job.id) == done
    assert queue.cancel("no such job") is None


def test_delete_forgets_final_jobs_only(queue: JobQueue) -> None:
    queue.submit(a_request())
    job = leased(queue)
    assert not queue.delete(job.id)
    queue.finish(job.id, "w", None)
    assert queue.delete(job.id)
    assert queue.get(job.id) is None
    assert not queue.delete(job.id)


def test_list_has_the_newest_first(queue: JobQueue) -> None:
    a, b, c = a_request(0), a_request(1), a_request(0, mpp=0.5)
    for request in (a, b, c):
        queue.submit(request)
    assert [job.id for job in queue.list()] == [c.key, b.key, a.key]
    assert [job.id for job in queue.list(a.slide_id)] == [c.key, a.key]
    assert [job.id for job in queue.list(limit_jobs=2)] == [c.key, b.key]
    queue.cancel(b.key)
    assert [job.id for job in queue.active()] == [c.key, a.key]


def test_counts_has_every_state(queue: JobQueue) -> None:
    assert set(queue.counts().values()) == {0}
    for number in range(3):
        queue.submit(a_request(number))
    queue.finish(leased(queue).id, "w", CRASH)
    leased(queue)
    assert queue.counts() == {
        JobState.QUEUED: 1,
        JobState.RUNNING: 1,
        JobState.SUCCEEDED: 0,
        JobState.FAILED: 1,
        JobState.CANCELLED: 0,
    }


def test_lease_never_gives_a_job_to_two_workers(open_another: OpenQueue) -> None:
    n_workers, n_jobs = 6, 40
    queues = [open_another() for _ in range(n_workers)]
    for number in range(n_jobs):
        queues[0].submit(a_request(number))
    barrier = threading.Barrier(n_workers)

    def take_all(worker: int) -> list[str]:
        barrier.wait()
        taken = []
        while (job := queues[worker].lease(f"w{worker}", LEASE_S)) is not None:
            taken.append(job.id)
        return taken

    with ThreadPoolExecutor(n_workers) as pool:
        taken = [job_id for ids in pool.map(take_all, range(n_workers)) for job_id in ids]
    assert len(taken) == n_jobs
    assert len(set(taken)) == n_jobs


def test_first_use_by_many_at_once_makes_the_tables_once(open_another: OpenQueue) -> None:
    queues = [open_another() for _ in range(8)]
    barrier = threading.Barrier(len(queues))

    def submit(number: int) -> bool:
        barrier.wait()
        return queues[number].submit(a_request())[1]

    with ThreadPoolExecutor(len(queues)) as pool:
        assert sorted(pool.map(submit, range(len(queues)))) == [False] * 7 + [True]


def test_clock_set_back_does_not_keep_the_lease_of_a_dead_worker(
    queue: JobQueue, settings: Settings
) -> None:
    queue.submit(a_request())
    queue.lease("dead", 5.0)
    change_rows(settings, "UPDATE slide_jobs SET lease_until = lease_until + 86400")
    assert queue.lease("b", LEASE_S) is None  # the dead worker could be alive
    change_rows(settings, "UPDATE slide_jobs SET lease_until = lease_until - 5")
    assert queue.lease("b", LEASE_S) is not None
