"""Where a model comes from: tiles, weights, quantisation and recalibration."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from app.core.manifest_part import Fraction, ManifestPart, Sha256


class DataSource(ManifestPart):
    """The tiles the model was trained on."""

    name: str
    url: str
    licence: str
    citation: str
    n_tiles: PositiveInt
    n_slides: PositiveInt | None = Field(description="Null if the slides are unknown.")
    n_cases: PositiveInt | None = Field(description="Null if the cases are unknown.")
    tiles_by_label: dict[str, int]
    mixed_tiles: Literal["viable", "exclude", "non_viable"] | None = Field(
        description="Null if the tiles are not those of the collection, which has mixed ones."
    )
    table_sha256: Sha256
    index_sha256: Sha256


class SupplementSource(ManifestPart):
    """What taught the model beside the tiles of the index, and was never tested by a split."""

    kind: Literal["thumbnails", "feature_table"]
    name: str
    url: str
    licence: str
    n_items: Annotated[PositiveInt, Field(description="Thumbnails, or rows of the table.")]
    sha256: Sha256


class WeightsSource(ManifestPart):
    """The weights that training started from."""

    name: str
    licence: str
    sha256: Sha256 | None = Field(description="Null if Keras downloaded and verified them itself.")


class Int8Parity(ManifestPart):
    """Comparison of the quantised LiteRT file with the fp32 file on labelled tiles."""

    n_tiles: PositiveInt
    index_sha256: Sha256
    max_probability_difference: Fraction
    mean_probability_difference: Fraction
    n_flips: Annotated[int, Field(ge=0, description="Tiles whose prediction changed.")]


class Recalibration(ManifestPart):
    """Provenance of a version that differs from its parent only in calibration."""

    parent_version: str
    parent_sha256: Sha256 = Field(description="SHA-256 of the parent's manifest.")
    index_sha256: Sha256 = Field(description="SHA-256 of the index of the site's tiles.")
    n_tiles: PositiveInt
    gate_widened: bool
    confusion: tuple[tuple[Annotated[int, Field(ge=0)], ...], ...] | None = Field(
        default=None,
        description="`confusion[i][j]` counts the site's tiles of label i predicted as label j; "
        "null in versions that were calibrated before it was recorded.",
    )
