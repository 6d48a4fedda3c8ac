from __future__ import annotations

import asyncio

import pytest

from app.api.upload_pace import UploadPace
from app.core.errors import SlowUploadError, UploadTimeoutError
from app.settings import Settings


def upload(pauses_s: list[float], n_bytes: int = 1000, **settings: object) -> None:
    """Receive chunks of `n_bytes`, each after a pause."""
    limits = {"min_upload_bytes_per_s": 1000, "upload_grace_s": 0.5, "body_timeout_s": 60.0}
    pace = UploadPace(Settings(**{**limits, **settings}))  # type: ignore[arg-type] # any setting

    async def receive() -> None:
        async with pace.enforce() as count:
            for pause_s in pauses_s:
                await asyncio.sleep(pause_s)
                count(n_bytes)

    asyncio.run(receive())


@pytest.mark.parametrize(
    ("pauses_s", "n_bytes"),
    [([600], 1), ([0, 600], 1_000_000), ([0] * 1000 + [600], 1000), ([0.05] * 100, 10)],
    ids=["nothing", "fast start", "fast start in chunks", "byte by byte"],
)
def test_upload_that_stalls_is_ended(pauses_s: list[float], n_bytes: int) -> None:
    with pytest.raises(SlowUploadError, match="1000 bytes per second") as caught:
        upload(pauses_s, n_bytes, upload_grace_s=0.1)
    assert vars(caught.value) == {"limit_s": 0.1, "min_bytes_per_s": 1000}


def test_slow_upload_above_the_rate_is_received() -> None:
    upload([0.02] * 30, 1000)  # longer than the grace period


def test_whole_body_has_a_limit_at_any_rate() -> None:
    with pytest.raises(UploadTimeoutError, match=r"0\.1 s") as caught:
        upload([0.01] * 1000, 1_000_000, body_timeout_s=0.1, upload_grace_s=60)
    assert not isinstance(caught.value, SlowUploadError)


def test_there_is_no_rate_when_connection_limits_are_off() -> None:
    upload([0.6], 1, connection_limits=False)


def test_hospital_network_is_above_the_default_rate() -> None:
    settings = Settings()
    bytes_per_s = 2_000_000 / 8
    assert settings.min_upload_bytes_per_s < bytes_per_s / 10, "ten uploads may share 2 Mbit/s"
