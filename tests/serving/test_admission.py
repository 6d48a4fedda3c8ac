from __future__ import annotations

import asyncio
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import QueueFullError, UploadsFullError
from app.serving.admission import MAX_SPREAD_S, Admission, UploadBudget
from app.serving.tile_costs import TileCosts, TileKind

TILE_S = 0.5
NO_LIMIT = math.inf
KIND = TileKind("JPEG", 20, 0)


def test_tiles_are_counted_not_requests() -> None:
    seen: list[int] = []
    admission = Admission(10, NO_LIMIT, seen.append)
    with admission.admit(6, 6 * TILE_S):
        assert admission.n_tiles == 6
        with pytest.raises(QueueFullError), admission.admit(5, 5 * TILE_S):
            pass
        with admission.admit(4, 4 * TILE_S):
            assert admission.n_tiles == 10
    assert seen == [6, 10, 6, 0]


def test_finished_tiles_release_their_places_early() -> None:
    seen: list[int] = []
    admission = Admission(4, NO_LIMIT, seen.append)
    with admission.admit(4, 4 * TILE_S) as finish_one:
        finish_one()
        with admission.admit(1, 1 * TILE_S):
            pass
    assert seen == [4, 3, 4, 3, 0]


def test_places_are_released_when_the_work_fails() -> None:
    admission = Admission(1, NO_LIMIT, lambda _: None)
    with pytest.raises(ZeroDivisionError), admission.admit(1, 1 * TILE_S):
        raise ZeroDivisionError
    assert admission.n_tiles == 0


def test_retry_after_follows_the_measured_rate() -> None:
    admission = Admission(100, NO_LIMIT, lambda _: None)
    costs = TileCosts()
    for _ in range(500):
        costs.observe(KIND, 0.2)
    tile_s = costs.estimate_s(KIND)
    with (
        admission.admit(100, 100 * tile_s),
        pytest.raises(QueueFullError) as caught,
        admission.admit(1, tile_s),
    ):
        pass
    assert caught.value.retry_after_s == pytest.approx(10, abs=1)  # half of 100 x 0.2 s


def retry_after_s(admission: Admission, n_tiles: int = 1) -> int:
    with pytest.raises(QueueFullError) as caught, admission.admit(n_tiles, n_tiles * TILE_S):
        pass
    return caught.value.retry_after_s


def test_rejected_clients_get_consecutive_turns() -> None:
    now = 0.0
    admission = Admission(10, NO_LIMIT, lambda _: None, clock=lambda: now)
    with admission.admit(10, 10 * TILE_S):
        # Half of 10 x 0.5 s, then a turn of 0.5 s for each.
        assert [retry_after_s(admission) for _ in range(4)] == [3, 4, 4, 5]
        assert retry_after_s(admission, n_tiles=6) == 8
        now = 2.0
        assert retry_after_s(admission) == 6, "the earlier turns are not over"
        now = 60.0
        assert retry_after_s(admission) == 3, "the earlier turns are over"


def test_turns_reach_a_limited_time_ahead() -> None:
    admission = Admission(10, NO_LIMIT, lambda _: None, clock=lambda: 0.0)
    with admission.admit(10, 10 * TILE_S):
        assert max(retry_after_s(admission) for _ in range(1000)) == math.ceil(2.5 + MAX_SPREAD_S)


@given(st.lists(st.integers(1, 8), max_size=30))
def test_limit_is_never_exceeded(requests: list[int]) -> None:
    admission = Admission(12, NO_LIMIT, lambda _: None)
    held = []
    for n_tiles in requests:
        place = admission.admit(n_tiles, n_tiles * TILE_S)
        try:
            place.__enter__()
            held.append(place)
        except QueueFullError:
            if held:
                held.pop(0).__exit__(None, None, None)
        assert 0 <= admission.n_tiles <= 12


def test_nothing_is_admitted_when_too_much_work_is_in_flight() -> None:
    admission = Admission(100, 5.0, lambda _: None)
    with admission.admit(1, 4.9), admission.admit(1, 0.2):
        with pytest.raises(QueueFullError) as caught, admission.admit(1, 0.01):
            pass
        assert (caught.value.limit_s, caught.value.retry_after_s) == (5.0, 3)
    with admission.admit(1, 0.01):
        pass


def test_request_with_more_work_than_the_limit_is_admitted_to_an_empty_queue() -> None:
    admission = Admission(64, 5.0, lambda _: None)
    with admission.admit(64, 60.0) as finish_one:
        for _ in range(58):
            finish_one()
        with pytest.raises(QueueFullError), admission.admit(1, 0.01):
            pass
        finish_one()
        with admission.admit(1, 0.01):
            pass


def test_reservations_count_as_work() -> None:
    async def scenario() -> None:
        admission = Admission(100, 1.0, lambda _: None)
        releases = [admission.reserve(0.3) for _ in range(4)]
        with pytest.raises(QueueFullError):
            admission.reserve(0.3)
        with admission.admit(1, 0.3):  # its reservation has just been released
            pass
        releases[0]()
        admission.reserve(0.3)

    asyncio.run(scenario())


def test_bytes_of_all_uploads_share_one_budget() -> None:
    seen: list[int] = []
    budget = UploadBudget(100, seen.append)
    with budget.track() as first, budget.track() as second:
        first(60)
        second(40)
        with pytest.raises(UploadsFullError):
            first(1)
    assert seen == [60, 100, 60, 0]


def test_bytes_are_released_when_the_upload_fails() -> None:
    seen: list[int] = []
    budget = UploadBudget(10, seen.append)
    with pytest.raises(UploadsFullError), budget.track() as take:
        [take(8) for _ in range(2)]
    assert seen == [8, 0]


def test_tile_that_outlives_its_request_releases_no_place_twice() -> None:
    seen: list[int] = []
    admission = Admission(4, NO_LIMIT, seen.append)
    with admission.admit(2, 2 * TILE_S) as finish_one:
        finish_one()
    finish_one()
    assert seen == [2, 1, 0]
