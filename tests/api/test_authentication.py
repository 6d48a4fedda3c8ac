from __future__ import annotations

import asyncio

import pytest
from fastapi.security import HTTPAuthorizationCredentials
from pydantic import SecretStr

from app.api.authentication import MAX_DELAY_S, RECENT_S, AdminAuthentication
from app.core.errors import AdminDeniedError
from app.telemetry.metrics import Metrics

TOKEN = "a-long-secret-of-tests"
RIGHT = HTTPAuthorizationCredentials(scheme="Bearer", credentials=TOKEN)
WRONG = HTTPAuthorizationCredentials(scheme="Bearer", credentials="wrong")


def admin(metrics: Metrics | None = None) -> AdminAuthentication:
    return AdminAuthentication(SecretStr(TOKEN), metrics or Metrics())


async def is_denied(admin: AdminAuthentication, given: HTTPAuthorizationCredentials | None) -> bool:
    try:
        await admin.require(given)
    except AdminDeniedError:
        return True
    return False


@pytest.fixture
def delays_s(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Delays that were asked for; none is waited for."""
    delays: list[float] = []

    async def note(delay_s: float) -> None:
        delays.append(delay_s)

    monkeypatch.setattr(asyncio, "sleep", note)
    return delays


def test_delays_of_wrong_tokens_grow_up_to_a_limit(delays_s: list[float]) -> None:
    async def guess() -> None:
        checked = admin()
        for _ in range(100):
            assert await is_denied(checked, WRONG)

    asyncio.run(guess())
    assert delays_s[:4] == [0.1, 0.2, 0.4, 0.8]
    assert set(delays_s[10:]) == {MAX_DELAY_S}


def test_wrong_tokens_are_forgotten(delays_s: list[float]) -> None:
    now = 0.0

    async def guess() -> None:
        nonlocal now
        checked = AdminAuthentication(SecretStr(TOKEN), Metrics(), clock=lambda: now)
        for _ in range(5):
            await is_denied(checked, WRONG)
        now = RECENT_S + 1
        await is_denied(checked, WRONG)

    asyncio.run(guess())
    assert delays_s[-1] == delays_s[0]


def test_right_token_is_not_delayed_by_guesses() -> None:
    async def scenario() -> None:
        checked = admin()
        guesses = [asyncio.create_task(is_denied(checked, WRONG)) for _ in range(50)]
        await asyncio.sleep(0)
        assert not await is_denied(checked, RIGHT)
        assert not any(guess.done() for guess in guesses)
        for guess in guesses:
            guess.cancel()

    asyncio.run(scenario())


def test_missing_token_is_no_guess(delays_s: list[float]) -> None:
    assert asyncio.run(is_denied(admin(), None))
    assert delays_s == []


def test_wrong_tokens_are_counted_and_logged(
    delays_s: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics()
    assert asyncio.run(is_denied(admin(metrics), WRONG))
    assert b"osteo_wrong_admin_tokens_total 1.0" in metrics.render()
    assert [line.message for line in caplog.records] == ["wrong_admin_token"]
    assert delays_s == [0.1]
