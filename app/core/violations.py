"""Describe a violated constraint of a pydantic model with the name that the user gave the value."""

from __future__ import annotations

from typing import Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

MAX_CLAUSE_LENGTH: Final = 400
"""A crafted document can have a name or a value of any length."""
_CLAUSES: Final = {
    "bool_parsing": "must be true or false",
    "extra_forbidden": "is not a known field",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "int_from_float": "must be an integer",
    "int_parsing": "must be an integer",
    "int_parsing_size": "must be an integer of fewer digits",
    "json_invalid": "is not valid JSON ({error})",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "missing": "is missing",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_short": "must have at least {min_length} {unit}",
    "too_long": "must have at most {max_length} items",
    "too_short": "must have at least {min_length} {unit}",
}
"""By pydantic's error type. A type that is not listed keeps pydantic's own text."""


def describe_violation(problem: ErrorDetails, name: str) -> str:
    """Say which constraint a value breaks, with the limit.

    Args:
        problem: one entry of `ValidationError.errors()`.
        name: the user's name for the value; empty if the constraint spans several values.

    Returns:
        A clause without a full stop, such as `OSTEO_PORT must be at most 65535`.
    """
    context = dict(problem.get("ctx", {}))
    prefix = f"{name}: " if name else ""
    if problem["type"] == "value_error":  # raised by a validator of ours
        return f"{prefix}{context['error']}"
    if problem["type"] not in _CLAUSES:
        return f"{prefix}{problem['msg']}"
    # pydantic calls a SecretStr a "Value", and counts its characters as items.
    unit = "item" if context.get("field_type", "Value") != "Value" else "character"
    context["unit"] = unit if context.get("min_length") == 1 else f"{unit}s"
    shown = {key: f"{x:g}" if isinstance(x, float) else x for key, x in context.items()}
    return f"{name} {_CLAUSES[problem['type']].format(**shown)}"


def describe_first_violation(error: ValidationError) -> str:
    """Say which constraint a document breaks first; at most `MAX_CLAUSE_LENGTH` characters."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = ".".join(str(part) for part in first["loc"])
    clause = describe_violation(first, name or "the document")
    return clause if len(clause) <= MAX_CLAUSE_LENGTH else f"{clause[:MAX_CLAUSE_LENGTH]}..."
