from __future__ import annotations

import pytest

from app.serving.readiness import DRAINING, LOADING, MAX_CONSECUTIVE_FAILURES, STOPPED, Readiness


@pytest.fixture
def seen() -> list[bool]:
    return []


@pytest.fixture
def readiness(seen: list[bool]) -> Readiness:
    return Readiness(seen.append)


def test_readiness_follows_the_start(readiness: Readiness, seen: list[bool]) -> None:
    reasons = [readiness.reason]
    readiness.begin_loading()
    reasons.append(readiness.reason)
    readiness.set_ready()
    reasons.append(readiness.reason)
    assert reasons == [STOPPED, LOADING, None]
    assert seen == [False, True]


def test_draining_is_final_until_the_next_start(readiness: Readiness) -> None:
    readiness.set_ready()
    readiness.begin_drain()
    readiness.set_ready()
    readiness.set_unready("another reason")
    assert (readiness.is_draining, readiness.reason) == (True, DRAINING)
    readiness.begin_loading()
    assert (readiness.is_draining, readiness.reason) == (False, LOADING)


def test_consecutive_failures_turn_readiness_off_once(readiness: Readiness) -> None:
    readiness.set_ready()
    turned_off = [readiness.count_failure() for _ in range(MAX_CONSECUTIVE_FAILURES + 2)]
    assert turned_off.count(True) == 1
    assert turned_off[MAX_CONSECUTIVE_FAILURES - 1]
    assert readiness.reason == "the model failed 5 times in a row"
    assert readiness.is_failing


def test_success_turns_readiness_on_and_resets_the_count(readiness: Readiness) -> None:
    readiness.set_ready()
    for _ in range(3):
        for _ in range(MAX_CONSECUTIVE_FAILURES - 1):
            assert not readiness.count_failure()
        readiness.count_success()
        assert (readiness.reason, readiness.is_failing) == (None, False)


def test_success_does_not_make_a_loading_service_ready(readiness: Readiness) -> None:
    readiness.begin_loading()
    readiness.count_success()
    assert readiness.reason == LOADING


def test_stuck_threads_turn_readiness_off_until_they_return(
    readiness: Readiness, seen: list[bool]
) -> None:
    readiness.set_ready()
    assert readiness.set_stuck(1)
    assert readiness.reason == "1 worker thread is stuck on a tile"
    assert not readiness.set_stuck(1)
    readiness.set_ready()
    assert readiness.set_stuck(2)
    assert readiness.reason == "2 worker threads are stuck on a tile"
    assert readiness.set_stuck(0)
    assert readiness.reason is None
    assert seen == [True, False, False, False, True]
