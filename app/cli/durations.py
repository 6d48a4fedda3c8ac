"""Times as people type them: `90d`, `12h`, `2027-03-01`."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from app.core.errors import SettingsError

_UNITS: Final = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
_DURATION: Final = re.compile(r"([0-9]{1,5})([hdw])")
_MAX_DURATION: Final = timedelta(days=36_525)  # a century: what is longer is a slip


def parse_duration(text: str, option: str) -> timedelta:
    """Read hours, days or weeks, such as `12h`, `90d` or `2w`.

    Args:
        text: what was typed.
        option: its name in the error.

    Raises:
        SettingsError: it is not a duration, or longer than a century.
    """
    duration = _duration(text)
    if duration is None:
        raise SettingsError(f"{option} {text!r} is not a duration. Write 12h, 90d or 2w.")
    return duration


def parse_expiry(text: str, now: datetime, option: str = "--expires") -> datetime | None:
    """Read when something expires.

    Args:
        text: a duration from now on, such as `90d`; a date, such as `2027-03-01`, which means its
            first moment in UTC; a date and time with a time zone (ISO 8601); or `never`.
        now: with a time zone.
        option: its name in the error.

    Returns:
        A time in UTC; None for never.

    Raises:
        SettingsError: it is none of them.
    """
    if text == "never":
        return None
    duration = _duration(text)
    if duration is not None:
        return now.astimezone(UTC) + duration
    try:
        time = datetime.fromisoformat(text)
        is_date = len(text) <= len("2027-03-01")
        if time.tzinfo is None and not is_date:
            raise SettingsError(f"{option} {text!r} lacks a time zone. Write {text}Z for UTC.")
        return time.replace(tzinfo=UTC) if is_date else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise SettingsError(
            f"{option} {text!r} is not a time. Write a duration such as 90d or 12h, a date such as "
            "2027-03-01, or never."
        ) from error


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    if match is None:
        return None
    duration = int(match[1]) * _UNITS[match[2]]
    return duration if duration <= _MAX_DURATION else None
