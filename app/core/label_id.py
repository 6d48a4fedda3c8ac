"""The id of a label: a name in answers, a column of the CSV, a value of metrics."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

RESERVED_IDS: Final = frozenset({
    "predicted",
    *("path", "prediction", "tumor_probability", "tile_sha256", "bundle_sha256", "error"),
    *("prediction_set", "review", "review_priority"),
})  # fmt: skip
"""Ids that mean something else: the label that `explain` draws by default, and the other columns of
the CSV, which a label of that id would overwrite."""


def _require_free(label_id: str) -> str:
    if label_id in RESERVED_IDS:
        raise ValueError(f"{label_id!r} has another meaning in answers; choose another id")
    return label_id


LabelId = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,63}$"), AfterValidator(_require_free)]
