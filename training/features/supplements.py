"""What teaches a model beside the tiles of an index, and is never tested by a split."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from training.config import TrainingConfig
from training.data.feature_table import find_feature_table
from training.data.index import Index
from training.data.places import Places
from training.errors import DataError, RunError
from training.features.texture_rows import TextureRows, read_texture_rows
from training.features.thumbnails import Thumbnails, read_thumbnails


@dataclass(frozen=True, slots=True)
class Supplements:
    """Low-resolution tiles and rows of the feature table; either may be missing.

    Attributes:
        places: slides and cases of the tiles of the index; None if nothing supplements them.
        thumbnails: low-resolution tiles.
        texture_rows: rows of the feature table.
    """

    places: Places | None = None
    thumbnails: Thumbnails | None = None
    texture_rows: TextureRows | None = None

    @property
    def sha256_of_thumbnails(self) -> str | None:
        """SHA-256 of the SHA-256s of the thumbnails' files; None if there are none."""
        return _sha256(self.thumbnails.sha256s) if self.thumbnails else None

    @property
    def digest(self) -> str | None:
        """SHA-256 of the content and the labels; None if there is nothing."""
        parts = []
        if (of := self.thumbnails) is not None:
            labelled = zip(of.sha256s, of.names, of.class_indices, strict=True)
            parts = [f"{sha256} {name} {label}" for sha256, name, label in labelled]
        parts += [self.texture_rows.sha256] if self.texture_rows else []
        return _sha256(parts) if parts else None


NO_SUPPLEMENTS: Final = Supplements()


def read_supplements(config: TrainingConfig, index: Index, data_dir: Path) -> Supplements:
    """Read what a configuration asks for.

    Args:
        config: names the thumbnails and the feature table.
        index: the tiles that they supplement.
        data_dir: where the feature table is searched if the configuration names none.

    Raises:
        DataError: a file or folder cannot be read.
        RunError: texture has a weight, and there is no feature table; or the tiles are not named
            as in the collection, so that what they share with the supplements is unknown.
    """
    thumbnails = rows = None
    is_supplemented = config.supplements.thumbnails or config.network.texture_weight > 0
    if is_supplemented and index.layout != "collection":
        raise RunError(
            "Thumbnails and rows of the feature table teach only beside tiles that are named as "
            "in the collection: else it is unknown which slides they share. Leave "
            "supplements.thumbnails (OSTEO_THUMBNAILS) out and set network.texture_weight to 0."
        )
    if config.supplements.thumbnails:
        thumbnails = read_thumbnails(
            Path(config.supplements.thumbnails),
            config.labels,
            index,
            config.augment.low_resolution_px,
            config.network.input_side_px,
        )
    if config.network.texture_weight > 0:
        table = _find_table(config, data_dir)
        rows = read_texture_rows(table, config.labels, config.data.mixed_tiles)
    return Supplements(Places.of(index), thumbnails, rows)


def _find_table(config: TrainingConfig, data_dir: Path) -> Path:
    if config.supplements.feature_table:
        return Path(config.supplements.feature_table)
    try:
        return find_feature_table(data_dir)
    except DataError as error:
        raise RunError(
            "network.texture_weight is above 0, so the texture part learns from the collection's "
            f"feature table, and {data_dir} does not hold exactly one. Name it with "
            "--feature-table or OSTEO_FEATURE_TABLE, or set network.texture_weight to 0."
        ) from error


def _sha256(parts: Sequence[str]) -> str:
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()
