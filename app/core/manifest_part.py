"""What all parts of a manifest have in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]


class ManifestPart(BaseModel):
    """Frozen, without unknown fields, NaN or infinity."""

    # Every field is written, those with defaults as well; the OpenAPI document says so.
    # Without protected namespaces, so that fields may be called `model_name` and `model_version`.
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        protected_namespaces=(),
        json_schema_serialization_defaults_required=True,
    )
