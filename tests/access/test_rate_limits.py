from __future__ import annotations

import builtins
import logging
import re
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.access.caller import Caller, Scope
from app.access.limit_storage import SWEEP_EVERY_S, ProcessStorage
from app.access.rate_limits import Allowance, RateLimits, rate_limit_headers
from app.core.access_errors import RateLimitedError
from app.core.errors import SettingsError

SCANNER = Caller("scanner", "key", frozenset(Scope))


class WallClock:
    """Stands in for `time.time`, which the package limits reads."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0  # divisible by 60 and 86,400: a window begins

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def wall_clock(monkeypatch: pytest.MonkeyPatch) -> WallClock:
    clock = WallClock()
    monkeypatch.setattr("time.time", clock)
    return clock


def n_allowed(limits: RateLimits, caller: Caller = SCANNER) -> int:
    """Take until the limit is used up."""
    for number in range(10_000):
        try:
            limits.take(caller, Scope.CLASSIFY)
        except RateLimitedError:
            return number
    raise AssertionError("the limit is never used up")


def test_take_allows_the_limit_and_no_more(wall_clock: WallClock) -> None:
    limits = RateLimits.parse("classify=3/minute", None)
    wall_clock.now_s += 15.5
    taken = [limits.take(SCANNER, Scope.CLASSIFY) for _ in range(3)]
    assert [one.remaining for one in taken if one] == [2, 1, 0]
    assert taken[-1] == Allowance(Scope.CLASSIFY, 3, 60, 0, 45)
    with pytest.raises(RateLimitedError) as refused:
        limits.take(SCANNER, Scope.CLASSIFY)
    assert refused.value.scope == "classify"
    assert refused.value.retry_after_s == 45
    assert "limit of 3/minute for classify" in str(refused.value)
    assert limits.refused(refused.value) == Allowance(Scope.CLASSIFY, 3, 60, 0, 45)


@pytest.mark.parametrize("wait_s", [0.25, 15, 59.75])
def test_caller_who_waits_retry_after_is_served(wall_clock: WallClock, wait_s: float) -> None:
    limits = RateLimits.parse("classify=600/minute", None)
    wall_clock.now_s += wait_s
    assert n_allowed(limits) == 600
    for _ in range(20):
        with pytest.raises(RateLimitedError) as refused:
            limits.take(SCANNER, Scope.CLASSIFY)
        wall_clock.now_s += refused.value.retry_after_s
        assert n_allowed(limits) >= 1


def test_quota_comes_back_bit_by_bit(wall_clock: WallClock) -> None:
    limits = RateLimits.parse("classify=600/minute", None)
    assert n_allowed(limits) == 600
    wall_clock.now_s += 60
    given_back = []
    for _ in range(6):
        wall_clock.now_s += 10
        given_back.append(n_allowed(limits))
    assert given_back == pytest.approx([100] * 6, abs=1)


def test_refused_requests_do_not_count(wall_clock: WallClock) -> None:
    limits = RateLimits.parse("classify=3/minute", None)
    n_allowed(limits)
    for _ in range(100):
        with pytest.raises(RateLimitedError):
            limits.take(SCANNER, Scope.CLASSIFY)
    wall_clock.now_s += 120
    assert n_allowed(limits) == 3


@pytest.mark.parametrize(
    "other", [Caller("viewer", "key", frozenset()), Caller("scanner", "token", frozenset())]
)
def test_callers_count_apart(wall_clock: WallClock, other: Caller) -> None:
    limits = RateLimits.parse("classify=2/hour", None)
    assert n_allowed(limits) == 2
    assert n_allowed(limits, other) == 2
    assert wall_clock.now_s > 0


def test_names_with_slashes_count_apart(wall_clock: WallClock) -> None:
    limits = RateLimits.parse("classify=2/hour,explain=2/hour", None)
    assert n_allowed(limits, Caller("a/2/1/hour", "token", frozenset())) == 2
    assert n_allowed(limits, Caller("a", "token", frozenset())) == 2
    assert wall_clock.now_s > 0


def test_scopes_count_apart_and_those_without_a_limit_are_free(wall_clock: WallClock) -> None:
    limits = RateLimits.parse("classify=1/day, explain=1/day", None)
    assert limits.take(SCANNER, Scope.CLASSIFY)
    assert limits.take(SCANNER, Scope.EXPLAIN)
    assert [limits.take(SCANNER, Scope.SLIDES) for _ in range(5)] == [None] * 5
    assert wall_clock.now_s > 0


@given(st.integers(1, 50), st.lists(st.tuples(st.floats(0, 30), st.integers(1, 60)), max_size=12))
def test_no_aligned_window_gives_more_than_the_limit(
    limit: int, bursts: list[tuple[float, int]]
) -> None:
    clock = WallClock()
    limits = RateLimits.parse(f"classify={limit}/minute", None)
    by_window: dict[int, int] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("time.time", clock)
        for passed_s, number in bursts:
            clock.now_s += passed_s
            for _ in range(number):
                try:
                    limits.take(SCANNER, Scope.CLASSIFY)
                except RateLimitedError:
                    break
                window = int(clock.now_s // 60)
                by_window[window] = by_window.get(window, 0) + 1
    assert all(number <= limit for number in by_window.values())


def test_headers_are_those_of_the_draft() -> None:
    assert rate_limit_headers(Allowance(Scope.CLASSIFY, 600, 60, 599, 1)) == {
        "RateLimit-Policy": '"classify";q=600;w=60',
        "RateLimit": '"classify";r=599;t=1',
    }


@pytest.mark.parametrize("scope", list(Scope))
def test_headers_are_structured_fields_for_every_scope(scope: Scope) -> None:
    headers = rate_limit_headers(Allowance(scope, 5, 3600, 0, 12))
    for value in headers.values():
        assert re.fullmatch(r'"[ -!#-\[\]-~]*"(;[a-z]+=\d{1,15})+', value)  # RFC 9651


def test_parse_reads_every_unit() -> None:
    limits = RateLimits.parse(
        "classify=1/second,explain=2/minute,models:write=3/hour,slides=4/day", None
    )
    assert limits.is_on
    assert not limits.is_shared
    taken = [limits.take(SCANNER, scope) for scope in list(Scope)[:4]]
    assert [(one.limit, one.window_s) for one in taken if one] == [
        (1, 1),
        (2, 60),
        (4, 86_400),
        (3, 3600),
    ]


@pytest.mark.parametrize("url", [None, "redis://localhost"])
def test_parse_without_limits_is_off(url: str | None) -> None:
    limits = RateLimits.parse(None, url)
    assert not limits.is_on
    assert not limits.is_shared
    assert limits.take(SCANNER, Scope.CLASSIFY) is None


@pytest.mark.parametrize(
    "text",
    [
        *("", "classify", "classify=5", "classify=0/minute", "classify=-1/minute"),
        *("classify=1.5/minute", "classify=5/week", "Classify=5/minute", "classify=5/minute,"),
        *("classify=5/minute;explain=5/minute", "classify=10000000000/day", "classify=٣/minute"),
    ],
)
def test_parse_says_the_right_form(text: str) -> None:
    with pytest.raises(SettingsError, match=r"OSTEO_RATE_LIMITS: .* such as classify=600/minute"):
        RateLimits.parse(text, None)


def test_parse_refuses_unknown_and_doubled_scopes() -> None:
    with pytest.raises(SettingsError, match="'clasify' is not a scope; those are classify, "):
        RateLimits.parse("clasify=5/minute", None)
    with pytest.raises(SettingsError, match="limits the scope 'classify' twice"):
        RateLimits.parse("classify=5/minute,classify=5/hour", None)


@pytest.mark.parametrize(
    "url", ["http://:hidden@redis", "redis:hidden", "redis://:hidden@redis:port/0", "hidden"]
)
def test_parse_refuses_a_wrong_url_without_repeating_it(url: str) -> None:
    with pytest.raises(SettingsError, match="OSTEO_RATE_LIMIT_URL") as refused:
        RateLimits.parse("classify=5/minute", url)
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    ("package", "url", "extra"),
    [("limits", None, "access"), ("redis.asyncio", "redis://localhost", "redis")],
)
def test_parse_names_the_missing_extra(
    package: str, url: str | None, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_import = builtins.__import__

    def without(name: str, *arguments: Any, **named: Any) -> Any:
        if name == package:
            raise ImportError(name)
        return real_import(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingsError, match=rf"pip install 'osteo-tiles\[{extra}\]'"):
        RateLimits.parse("classify=5/minute", url)


def test_process_storage_starts_no_threads_and_forgets_old_counters(
    wall_clock: WallClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's attribute `timer` is replaced; this fails if a new version lacks it."""
    monotonic = [0.0]
    monkeypatch.setattr("app.access.limit_storage.time.monotonic", lambda: monotonic[0])
    monkeypatch.setattr(threading.Thread, "start", lambda _thread: pytest.fail("a thread started"))
    storage = ProcessStorage()
    storage.incr("old", 60)
    wall_clock.now_s += 61
    storage.incr("new", 60)
    assert set(storage.storage) == {"old", "new"}  # swept less than SWEEP_EVERY_S ago
    monotonic[0] += SWEEP_EVERY_S
    storage.incr("new", 60)
    assert set(storage.storage) == {"new"}
    assert set(storage.locks) == {"new"}


def test_taking_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    limits = RateLimits.parse("classify=2/day", None)
    n_allowed(limits)
    assert caplog.records == []
