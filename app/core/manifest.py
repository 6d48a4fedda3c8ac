"""The manifest of a model bundle: the model's identity, provenance and measurements.

A bundle is a directory `NAME/VERSION/` with `saved_model/`, `model.tflite`, `golden/`,
`model-card.md` and `manifest.json`. The manifest contains the SHA-256 of every other file, so the
SHA-256 of the manifest identifies the whole bundle.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from app.core.assessment_record import AssessmentRecord
from app.core.errors import ManifestError
from app.core.violations import describe_violation

MANIFEST_NAME: Final = "manifest.json"
SAVED_MODEL_NAME: Final = "saved_model"
LITERT_NAME: Final = "model.tflite"
INT8_NAME: Final = "model-int8.tflite"
GOLDEN_NAME: Final = "golden"
MODEL_CARD_NAME: Final = "model-card.md"

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
SplitKind = Literal["random", "slide", "patient"]
"""How test tiles are separated from training tiles: by tile, by slide or by patient (case)."""


class _Part(BaseModel):
    # Without protected namespaces, so that fields may be called `model_name` and `model_version`.
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Label(_Part):
    """One class of the model."""

    id: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
    name: str
    is_tumor: bool


class InputContract(_Part):
    """The graph's input: uint8 `[B, side_px, side_px, 3]` RGB, which the graph itself scales."""

    side_px: PositiveInt = 224
    channels: Literal["RGB"] = "RGB"
    dtype: Literal["uint8"] = "uint8"
    tile_side_px: PositiveInt | None = Field(
        default=1024, description="Side of the training tiles before resampling, in pixels."
    )
    objective_power: PositiveFloat | None = Field(
        default=10.0, description="Nominal magnification of the training tiles."
    )
    mpp: PositiveFloat | None = Field(
        default=None, description="Micrometres per pixel; null if the source does not state it."
    )


class ClassMetrics(_Part):
    """Precision, recall and F1 of one label; null if the split has no tile of it."""

    label: str
    support: Annotated[int, Field(ge=0)]
    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None


class FoldMetrics(_Part):
    """One fold: its name (the case, if folds are cases), its test tiles and their metrics.

    Metrics that were not measured are null or empty: a fold of one slide has no interval, and
    older bundles store fewer metrics.
    """

    name: str
    n_tiles: PositiveInt
    accuracy: Fraction
    support: dict[str, int]
    accuracy_low: Fraction | None = None
    accuracy_high: Fraction | None = None
    macro_f1: Fraction | None = Field(default=None, description="Mean over the fold's labels.")
    classes: tuple[ClassMetrics, ...] = ()


class SplitMetrics(_Part):
    """Metrics pooled over the out-of-fold predictions of one split.

    `tumor_precision` and `tumor_recall` merge the tumour labels against the rest, as the seed paper
    does (`docs/study.md`). `confusion[i][j]` counts tiles of label i predicted as label j.
    """

    split: SplitKind
    split_sha256: Sha256
    n_folds: PositiveInt
    n_tiles: PositiveInt
    accuracy: Fraction
    accuracy_low: Fraction = Field(description="Lower end of the 95 % interval, by slide.")
    accuracy_high: Fraction = Field(description="Upper end of the 95 % interval, by slide.")
    macro_f1: Fraction
    macro_f1_low: Fraction | None = None
    macro_f1_high: Fraction | None = None
    balanced_accuracy: Fraction | None = Field(
        default=None, description="Mean recall over the labels in the split."
    )
    tumor_precision: Fraction | None
    tumor_recall: Fraction | None
    ece: Fraction = Field(description="Expected calibration error, 10 equal-width bins.")
    log_loss: Annotated[float, Field(ge=0)]
    classes: tuple[ClassMetrics, ...]
    folds: tuple[FoldMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


class DataSource(_Part):
    """The tiles the model was trained on."""

    name: str
    url: str
    licence: str
    citation: str
    n_tiles: PositiveInt
    n_slides: PositiveInt
    n_cases: PositiveInt
    tiles_by_label: dict[str, int]
    mixed_tiles: Literal["viable", "exclude", "non_viable"]
    table_sha256: Sha256
    index_sha256: Sha256


class WeightsSource(_Part):
    """The weights that training started from."""

    name: str
    licence: str
    sha256: Sha256 | None = Field(description="Null if Keras downloaded and verified them itself.")


class FileEntry(_Part):
    """Size and SHA-256 of one file in the bundle."""

    sha256: Sha256
    n_bytes: Annotated[int, Field(ge=0)]


class Int8Parity(_Part):
    """Comparison of the quantised LiteRT file with the fp32 file on labelled tiles."""

    n_tiles: PositiveInt
    index_sha256: Sha256
    max_probability_difference: Fraction
    mean_probability_difference: Fraction
    n_flips: Annotated[int, Field(ge=0, description="Tiles whose prediction changed.")]


class Recalibration(_Part):
    """Provenance of a version that differs from its parent only in calibration."""

    parent_version: str
    parent_sha256: Sha256 = Field(description="SHA-256 of the parent's manifest.")
    index_sha256: Sha256 = Field(description="SHA-256 of the index of the site's tiles.")
    n_tiles: PositiveInt
    gate_widened: bool


class Manifest(_Part):
    """The content of `manifest.json`; see the module docstring."""

    schema_version: Literal[1] = 1
    model_name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    model_version: Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]
    created: datetime
    intended_use: str
    labels: Annotated[tuple[Label, ...], Field(min_length=2)]
    input: InputContract
    embedding_size: PositiveInt
    cam_shape: tuple[PositiveInt, PositiveInt]
    temperature: PositiveFloat
    training: dict[str, Any]
    data: DataSource
    weights: WeightsSource
    metrics: tuple[SplitMetrics, ...]
    int8: Int8Parity | None = Field(
        default=None, description="Null if the bundle has no `model-int8.tflite`."
    )
    assessment: AssessmentRecord | None = Field(
        default=None,
        description="Reference of prediction sets, the input gate and drift; null in bundles "
        "released without it.",
    )
    recalibration: Recalibration | None = Field(
        default=None, description="Null if the bundle was calibrated by its own training."
    )
    software: dict[str, str]
    files: dict[str, FileEntry]

    @model_validator(mode="after")
    def _require_distinct_labels(self) -> Self:
        if len({label.id for label in self.labels}) != len(self.labels):
            raise ValueError("label ids must differ")
        return self

    @model_validator(mode="after")
    def _require_known_labels_in_assessment(self) -> Self:
        predicted = self.assessment.drift.predictions if self.assessment else {}
        unknown = set(predicted) - set(self.label_ids)
        if unknown:
            raise ValueError(
                f"assessment.drift.predictions has labels that the model lacks: {sorted(unknown)}"
            )
        return self

    @property
    def label_ids(self) -> tuple[str, ...]:
        """Label ids in the order of the logits."""
        return tuple(label.id for label in self.labels)


def read_manifest(path: Path) -> tuple[Manifest, str]:
    """Read and check a manifest.

    Args:
        path: the `manifest.json` of a bundle.

    Returns:
        The manifest and its SHA-256, which identifies the whole bundle.

    Raises:
        ManifestError: the file is missing, is not JSON or does not follow the schema.
    """
    try:
        content = path.read_bytes()
        manifest = Manifest.model_validate_json(content)
    except OSError as error:
        raise ManifestError(str(path), error.strerror or "it cannot be read") from error
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        reason = describe_violation(first, name or "the document")
        raise ManifestError(str(path), reason) from error
    return manifest, hashlib.sha256(content).hexdigest()


def write_manifest(path: Path, manifest: Manifest) -> str:
    """Write a manifest as readable JSON and return its SHA-256."""
    content = json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
