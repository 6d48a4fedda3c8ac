from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.failed_attempts import MAX_ADDRESSES, MAX_DELAY_S, RECENT_S, FailedAttempts


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def delays(attempts: FailedAttempts, address: str | None, number: int) -> list[float]:
    return [attempts.delay_s(address) for _ in range(number)]


def test_first_failures_are_not_delayed_and_later_ones_double() -> None:
    attempts = FailedAttempts(Clock())
    assert delays(attempts, "192.0.2.1", 13) == pytest.approx(
        [0, 0, 0, 0, 0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5]
    )


def test_failures_are_forgotten_after_a_minute() -> None:
    clock = Clock()
    attempts = FailedAttempts(clock)
    assert delays(attempts, "192.0.2.1", 6)[-1] > 0
    clock.now_s += RECENT_S - 0.001
    assert attempts.delay_s("192.0.2.1") == pytest.approx(0.2)
    clock.now_s += 0.002
    assert attempts.delay_s("192.0.2.1") == 0  # only the one of just now is recent


def test_addresses_count_apart() -> None:
    attempts = FailedAttempts(Clock())
    assert delays(attempts, "192.0.2.1", 8)[-1] > 0
    assert attempts.delay_s("192.0.2.2") == 0


@pytest.mark.parametrize(
    ("first", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        (None, None, True),
        (None, "192.0.2.1", False),
        ("testclient", "testclient", True),
    ],
)
def test_addresses_of_one_client_count_together(
    first: str | None, other: str | None, is_same: bool
) -> None:
    attempts = FailedAttempts(Clock())
    delays(attempts, first, 5)
    assert (attempts.delay_s(other) > 0) == is_same


def test_memory_is_bounded_and_forgets_the_oldest_failures() -> None:
    attempts = FailedAttempts(Clock())
    delays(attempts, "192.0.2.1", 6)
    delays(attempts, "192.0.2.2", 6)
    for number in range(MAX_ADDRESSES - 2):
        attempts.delay_s(f"198.51.{number // 256}.{number % 256}")
    assert attempts.delay_s("192.0.2.1") > 0  # moved to the end
    attempts.delay_s("203.0.113.1")
    assert len(attempts) == MAX_ADDRESSES
    assert attempts.delay_s("192.0.2.1") > 0
    assert attempts.delay_s("192.0.2.2") == 0


def test_memory_of_one_address_is_bounded() -> None:
    attempts = FailedAttempts(Clock())
    delays(attempts, "192.0.2.1", 1000)
    (failed_at,) = attempts._failed_at.values()
    assert len(failed_at) < 20


@given(st.lists(st.tuples(st.text(max_size=200) | st.none(), st.floats(0, 100)), max_size=50))
def test_any_address_gets_a_delay_within_bounds(failures: list[tuple[str | None, float]]) -> None:
    clock = Clock()
    attempts = FailedAttempts(clock)
    for address, passed_s in failures:
        clock.now_s += passed_s
        assert 0 <= attempts.delay_s(address) <= MAX_DELAY_S
