from __future__ import annotations

from typing import Annotated, Literal

import pytest
from pydantic import AfterValidator, BaseModel, Field, SecretStr, ValidationError

from app.core.violations import describe_violation


def reject(_value: int) -> int:
    raise ValueError("the sum must be even")


class Example(BaseModel, extra="forbid"):
    share: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.5
    secret: SecretStr = Field(default=SecretStr("four"), min_length=4)
    items: Annotated[tuple[int, ...], Field(min_length=2)] = (1, 2)
    kind: Literal["slide", "site"] = "slide"
    name: str = Field(default="a", pattern="^[a-z]+$", min_length=1)
    odd: Annotated[int, AfterValidator(reject)] = 0


@pytest.mark.parametrize(
    ("document", "clause"),
    [
        ({"share": -1}, "it must be at least 0"),
        ({"share": 1}, "it must be less than 1"),
        ({"share": "much"}, "it must be a number"),
        ({"share": float("inf")}, "it must be a finite number"),
        ({"secret": "abc"}, "it must have at least 4 characters"),
        ({"items": [1]}, "it must have at least 2 items"),
        ({"items": [1, 1.5]}, "it must be an integer"),
        ({"kind": "tile"}, "it must be 'slide' or 'site'"),
        ({"name": "A"}, "it must match the pattern ^[a-z]+$"),
        ({"name": ""}, "it must have at least 1 character"),
        ({"odd": 1}, "it: the sum must be even"),
        ({"other": 1}, "it is not a known field"),
        ({"items": {}}, "it: Input should be a valid tuple"),
    ],
)
def test_describe_violation_names_the_constraint_and_its_limit(
    document: dict[str, object], clause: str
) -> None:
    with pytest.raises(ValidationError) as caught:
        Example.model_validate(document)
    assert describe_violation(caught.value.errors()[0], "it") == clause


def test_describe_violation_names_missing_fields_and_broken_json() -> None:
    class Needed(BaseModel):
        size: int

    for content, clause in (("{}", "it is missing"), ("{", "it is not valid JSON (EOF while")):
        with pytest.raises(ValidationError) as caught:
            Needed.model_validate_json(content)
        assert describe_violation(caught.value.errors()[0], "it").startswith(clause)
