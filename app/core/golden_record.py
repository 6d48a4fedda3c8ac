"""`golden/expected.json`: what a bundle answered to its golden tiles at release."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from app.core.bundle_errors import ManifestError
from app.core.calibration import probabilities_from_logits
from app.core.manifest import Label
from app.core.violations import describe_first_violation

GOLDEN_EXPECTED_NAME: Final = "expected.json"

TileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$")]
"""The name of a file in `golden/`, without a folder."""
Logits = dict[TileName, tuple[Annotated[float, Field(ge=-1e6, le=1e6)], ...]]
Probabilities = dict[TileName, dict[str, Annotated[float, Field(ge=0, le=1)]]]


class GoldenRecord(BaseModel):
    """Logits of every golden tile, and what users read: labels and calibrated probabilities.

    Bundles released before the labels were recorded have only logits.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    logits: Logits
    logits_int8: Logits | None = None
    labels: tuple[Label, ...] | None = Field(
        default=None, description="The manifest's labels, in the order of the logits."
    )
    probabilities: Probabilities | None = Field(
        default=None, description="Calibrated probabilities by tile and label id."
    )
    probabilities_int8: Probabilities | None = None

    @model_validator(mode="after")
    def _require_complete_answers(self) -> Self:
        if self.labels is None:
            return self
        for logits, probabilities in (
            (self.logits, self.probabilities),
            (self.logits_int8, self.probabilities_int8),
        ):
            if set(logits or ()) != set(probabilities or ()):
                raise ValueError("each tile needs both logits and probabilities")
            if any(len(row) != len(self.labels) for row in (logits or {}).values()):
                raise ValueError(f"each tile needs {len(self.labels)} logits, one for each label")
        return self


def build_golden_record(
    logits: Logits, logits_int8: Logits | None, labels: tuple[Label, ...], temperature: float
) -> GoldenRecord:
    """Complete released logits with the labels and the calibrated probabilities.

    Raises:
        InferenceError: a logit is NaN or infinite.
    """
    return GoldenRecord(
        logits=logits,
        logits_int8=logits_int8,
        labels=labels,
        probabilities=label_probabilities(logits, labels, temperature),
        probabilities_int8=label_probabilities(logits_int8, labels, temperature)
        if logits_int8 is not None
        else None,
    )


def label_probabilities(
    logits: Mapping[str, tuple[float, ...]], labels: tuple[Label, ...], temperature: float
) -> dict[str, dict[str, float]]:
    """Calibrated probabilities by tile and label id.

    Raises:
        InferenceError: a logit is NaN or infinite.
    """
    label_ids = [label.id for label in labels]
    return {
        name: dict(zip(label_ids, _softmax(row, temperature), strict=True))
        for name, row in logits.items()
    }


def parse_golden_record(content: bytes, name: str) -> GoldenRecord:
    """Parse and check `golden/expected.json`.

    Args:
        content: the file.
        name: what the error calls the file.

    Raises:
        ManifestError: it is not JSON, or does not follow the schema.
    """
    try:
        return GoldenRecord.model_validate_json(content)
    except ValidationError as error:
        raise ManifestError(name, describe_first_violation(error)) from error


def _softmax(row: tuple[float, ...], temperature: float) -> list[float]:
    answer: list[float] = probabilities_from_logits(np.array([row]), temperature)[0].tolist()
    return answer
