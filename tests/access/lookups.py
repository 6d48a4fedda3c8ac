"""Look up keys with clocks that the test moves."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.access.api_keys import LOOK_EVERY_S, ApiKeys, GivenKey
from app.access.caller import Scope
from app.access.key_changes import create_key
from app.core.access_errors import CredentialsInvalidError

CLASSIFY = frozenset({Scope.CLASSIFY})
ADMIN = GivenKey("admin", SecretStr("a long admin token"), frozenset({Scope.MODELS_WRITE}))


class Clock:
    """Both clocks of `ApiKeys`; the test moves them."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s

    def pass_look(self) -> None:
        self.now_s += LOOK_EVERY_S


def opened(path: Path, clock: Clock, *given: GivenKey) -> ApiKeys:
    return ApiKeys(path, given, clock, clock)


def created(path: Path, name: str, expires_at: datetime | None = None) -> str:
    return create_key(path, name, CLASSIFY, expires_at).key


def reason_of(keys: ApiKeys, key: str) -> str:
    with pytest.raises(CredentialsInvalidError) as refused:
        keys.find(key)
    assert key not in str(refused.value)
    return refused.value.reason


def days(number: float) -> datetime:
    return datetime.now(UTC) + timedelta(days=number)
