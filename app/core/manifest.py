"""The manifest of a model bundle: the model's identity, provenance and measurements.

A bundle is a directory `NAME/VERSION/` with `saved_model/`, `model.tflite`, `golden/`,
`model-card.md` and `manifest.json`. The manifest contains the SHA-256 of every other file, so the
SHA-256 of the manifest identifies the whole bundle.
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from app.core.assessment_record import AssessmentRecord
from app.core.bundle_errors import ManifestError
from app.core.json_document import require_plain_json
from app.core.label_id import LabelId
from app.core.manifest_part import Fraction, ManifestPart, Sha256
from app.core.provenance import (
    DataSource,
    Int8Parity,
    Recalibration,
    SupplementSource,
    WeightsSource,
)
from app.core.violations import describe_first_violation

MANIFEST_NAME: Final = "manifest.json"
SAVED_MODEL_NAME: Final = "saved_model"
LITERT_NAME: Final = "model.tflite"
INT8_NAME: Final = "model-int8.tflite"
GOLDEN_NAME: Final = "golden"
MODEL_CARD_NAME: Final = "model-card.md"
VERSION_PATTERN: Final = r"^[1-9][0-9]{0,8}$"
TEMPERATURE_RANGE: Final = (0.05, 20.0)
"""The temperatures that `osteo-train` can fit."""
MAX_MANIFEST_BYTES: Final = 64 * 1024**2
"""Most of a manifest is one conformal score, of about 20 bytes, for each calibration tile."""

# Relative names of at most 8 parts, none of which is hidden, `.` or `..`.
_FILE_NAME: Final = re.compile(
    r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,127}){0,7}"
)

SplitKind = Literal["random", "slide", "patient"]
"""How test tiles are separated from training tiles: by tile, by slide or by patient (case)."""


class Label(ManifestPart):
    """One class of the model."""

    id: LabelId
    name: Annotated[str, Field(max_length=200)]
    is_tumor: bool
    colour: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] | None = Field(
        default=None, description="Colour in plots and reports, `#rrggbb`."
    )


class InputContract(ManifestPart):
    """The graph's input: uint8 `[B, side_px, side_px, 3]` RGB, which the graph itself scales."""

    side_px: Annotated[int, Field(ge=8, le=2048)] = 224
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


class ClassMetrics(ManifestPart):
    """Precision, recall and F1 of one label; null if the split has no tile of it."""

    label: str
    support: Annotated[int, Field(ge=0)]
    precision: Fraction | None
    recall: Fraction | None
    f1: Fraction | None


class FoldMetrics(ManifestPart):
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


class SplitMetrics(ManifestPart):
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


class FileEntry(ManifestPart):
    """Size and SHA-256 of one file in the bundle."""

    sha256: Sha256
    n_bytes: Annotated[int, Field(ge=0)]


class Manifest(ManifestPart):
    """The content of `manifest.json`; see the module docstring."""

    schema_version: Literal[1] = 1
    model_name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,127}$")]
    model_version: Annotated[str, Field(pattern=VERSION_PATTERN)]
    created: datetime
    intended_use: str
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=1000)]
    input: InputContract
    embedding_size: PositiveInt
    cam_shape: tuple[PositiveInt, PositiveInt]
    temperature: Annotated[float, Field(ge=TEMPERATURE_RANGE[0], le=TEMPERATURE_RANGE[1])]
    training: dict[str, Any]
    data: DataSource
    supplements: Annotated[
        tuple[SupplementSource, ...],
        Field(description="What taught the model beside the tiles; empty if nothing did."),
    ] = ()
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
    files: Annotated[dict[str, FileEntry], Field(max_length=10_000)]

    @model_validator(mode="after")
    def _require_distinct_labels(self) -> Self:
        if len({label.id for label in self.labels}) != len(self.labels):
            raise ValueError("label ids must differ")
        return self

    @model_validator(mode="after")
    def _require_metrics_in_the_order_of_labels(self) -> Self:
        # The order of the labels gives each logit its meaning. `confusion` has the same order.
        for split in self.metrics:
            measured = tuple(metrics.label for metrics in split.classes)
            if measured not in ((), self.label_ids):
                raise ValueError(
                    f"labels are {', '.join(self.label_ids)}, but the metrics by {split.split} "
                    f"are of {', '.join(measured)}"
                )
        return self

    @model_validator(mode="after")
    def _require_files_inside_the_bundle(self) -> Self:
        for name in self.files:
            if not _FILE_NAME.fullmatch(name):
                raise ValueError(f"{name[:200]!r} in files is outside the bundle or not plain")
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
    content = read_manifest_bytes(path, str(path))
    return parse_manifest(content, str(path)), hashlib.sha256(content).hexdigest()


def read_manifest_bytes(path: Path, name: str) -> bytes:
    """Read a manifest without parsing it; errors call it `name`.

    Raises:
        ManifestError: the file is missing, or has more than `MAX_MANIFEST_BYTES`.
    """
    try:
        if path.exists() and not path.is_file():  # reading a pipe would never end
            raise ManifestError(name, "it is not a file")
        with path.open("rb") as stream:
            content = stream.read(MAX_MANIFEST_BYTES + 1)
    except OSError as error:
        raise ManifestError(name, error.strerror or "it cannot be read") from error
    if len(content) > MAX_MANIFEST_BYTES:
        raise ManifestError(name, f"it has more than {MAX_MANIFEST_BYTES} bytes")
    return content


def parse_manifest(content: bytes, name: str) -> Manifest:
    """Parse and check a manifest; errors call it `name`.

    Raises:
        ManifestError: it is not JSON or does not follow the schema.
    """
    try:
        manifest = Manifest.model_validate_json(content)
        require_plain_json(content)  # `training` accepts any value
    except ValidationError as error:
        raise ManifestError(name, describe_first_violation(error)) from error
    except ValueError as error:
        raise ManifestError(name, str(error)) from error
    return manifest


def write_manifest(path: Path, manifest: Manifest) -> str:
    """Write a manifest as readable JSON and return its SHA-256."""
    content = json.dumps(manifest.model_dump(mode="json"), indent=2).encode() + b"\n"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
