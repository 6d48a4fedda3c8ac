"""`gan.json` in a generator's folder: its settings, and the tiles that it saw."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS
from training.errors import GanError
from training.storage.disk import writing
from training.storage.frozen_model import FrozenModel, write_json

RECORD_NAME: Final = "gan.json"


class GanSettings(FrozenModel):
    """Settings of a fit."""

    side_px: Literal[32, 64, 128] = Field(default=64, description="Side of the generated tiles.")
    epochs: int = Field(default=60, ge=1, description="Number of epochs.")
    tiles_per_epoch: int = Field(
        default=512, ge=1, description="Real tiles shown in each epoch, whatever their number."
    )
    batch_size: int = Field(
        default=16,
        ge=2,
        multiple_of=2,
        description="Real tiles in each step, and generated ones.",
    )
    learning_rate: float = Field(
        default=4e-4, gt=0, description="Learning rate of Adam, for both networks."
    )
    latent_size: int = Field(default=64, ge=1, description="Length of the noise vector.")
    width: int = Field(default=16, ge=8, multiple_of=8, description="Channels at full size.")
    averaging: float = Field(
        default=0.99, ge=0, lt=1, description="Momentum of the average of the generator's weights."
    )
    seed: int = Field(default=0, ge=0, description="Seed of weights, noise, order and transforms.")


class SeenTile(FrozenModel):
    """A tile that the GAN was fitted on."""

    name: str
    sha256: str
    label: str


class GanRecord(FrozenModel):
    """A generator's identity: equal records give equal generators.

    Attributes:
        split_sha256, fold: the fold that it serves; None for all tiles of the index.
        label_set: the labels; left out of the file if they are those of the collection.
        seen: every tile that it is fitted on, in the order of the index.
    """

    schema_version: Literal[1] = 1
    settings: GanSettings
    label_set: LabelSet = Field(
        default=COLLECTION_LABELS, exclude_if=lambda value: value == COLLECTION_LABELS
    )
    index_sha256: str
    split_sha256: str | None
    fold: str | None
    seen: tuple[SeenTile, ...]

    @property
    def class_indices(self) -> tuple[int, ...]:
        """Ascending positions of the labels that it saw."""
        ids = self.label_set.ids
        return tuple(sorted({ids.index(tile.label) for tile in self.seen}))


def read_record(folder: Path) -> GanRecord:
    """Read a generator's record.

    Raises:
        GanError: the folder holds no record.
    """
    path = folder / RECORD_NAME
    try:
        return GanRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GanError(f"{path}: {error.strerror}. Make one with 'osteo-train gan fit'.") from error
    except ValidationError as error:
        raise GanError(f"{path} is not a generator's record of this version.") from error


def begin_folder(folder: Path, record: GanRecord) -> None:
    """Create a generator's folder, unless it exists with the same record.

    Raises:
        GanError: the folder holds another generator, or is not writable.
    """
    if (folder / RECORD_NAME).exists():
        if read_record(folder) != record:
            raise GanError(
                f"{folder} holds a generator with other settings or tiles. Choose another --out, "
                "or remove the folder."
            )
        return
    with writing(folder, GanError, "--out"):
        write_json(folder / RECORD_NAME, record)
