"""Read JSON from a file that may be damaged or crafted."""

from __future__ import annotations

import math
from typing import Any, Final

from pydantic_core import from_json

MAX_DEPTH: Final = 32
MAX_INTEGER: Final = 2**53
"""Larger integers lose digits in a float64, and so in most readers of JSON."""


def require_plain_json(content: bytes) -> None:
    """Check that a document is JSON (RFC 8259) that every part of the service can handle.

    Without this check, a model with a field of any type would accept numbers that cannot be
    written as JSON again or converted to a float, and values nested without a limit.

    Raises:
        ValueError: the content is not UTF-8 or not JSON, is nested deeper than `MAX_DEPTH`, or
            contains NaN, infinity or an integer beyond `MAX_INTEGER`.
    """
    try:
        document = from_json(content, allow_inf_nan=False)
    except ValueError as error:
        raise ValueError(f"the document is not valid JSON ({error})") from error
    waiting: list[tuple[Any, int]] = [(document, 1)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise ValueError(f"values are nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, dict | list):
            parts = value.values() if isinstance(value, dict) else value
            waiting.extend((part, depth + 1) for part in parts)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a number is too large")
        elif isinstance(value, int) and abs(value) > MAX_INTEGER:
            raise ValueError(f"an integer is beyond {MAX_INTEGER}")
