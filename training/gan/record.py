"""What a generator is, and which tiles it saw: `gan.json` in its folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from training.data.labels import LABEL_IDS
from training.errors import GanError
from training.storage.atomic import write_whole

RECORD_NAME: Final = "gan.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class GanSettings(_Part):
    """How a GAN is fitted."""

    side_px: Literal[32, 64, 128] = Field(default=64, description="Side of the tiles it makes.")
    epochs: int = Field(default=60, ge=1, description="Each shows `tiles_per_epoch` real tiles.")
    tiles_per_epoch: int = Field(
        default=512, ge=1, description="Real tiles an epoch shows, however many there are."
    )
    batch_size: int = Field(
        default=16, ge=2, multiple_of=2, description="Real and made tiles a step, each."
    )
    learning_rate: float = Field(default=4e-4, gt=0, description="Of Adam, for both networks.")
    latent_size: int = Field(default=64, ge=1, description="Numbers of noise.")
    width: int = Field(default=16, ge=8, multiple_of=8, description="Channels at full size.")
    averaging: float = Field(
        default=0.99, ge=0, lt=1, description="Momentum of the average of the generator's weights."
    )
    seed: int = Field(default=0, ge=0, description="Of weights, noise, order and transforms.")


class SeenTile(_Part):
    """A tile that the GAN was fitted on."""

    name: str
    sha256: str
    label: Literal["non_tumor", "non_viable_tumor", "viable_tumor"]


class GanRecord(_Part):
    """A generator's identity: with the same record the same generator is fitted.

    Attributes:
        split_sha256, fold: what it was fitted for; None for all tiles of the index.
        seen: every tile that it was fitted on, in the order of the index.
    """

    schema_version: Literal[1] = 1
    settings: GanSettings
    index_sha256: str
    split_sha256: str | None
    fold: str | None
    seen: tuple[SeenTile, ...]

    @property
    def class_indices(self) -> tuple[int, ...]:
        """Positions in `LABELS` of the labels that it saw, ascending."""
        return tuple(sorted({LABEL_IDS.index(tile.label) for tile in self.seen}))


def read_record(folder: Path) -> GanRecord:
    """Read a generator's record.

    Raises:
        GanError: the folder holds none.
    """
    path = folder / RECORD_NAME
    try:
        return GanRecord.model_validate_json(path.read_bytes())
    except OSError as error:
        raise GanError(f"{path}: {error.strerror}. Make one with 'osteo-train gan fit'.") from error
    except ValidationError as error:
        raise GanError(f"{path} is not the record of a generator of this version.") from error


def begin_folder(folder: Path, record: GanRecord) -> None:
    """Make a generator's folder, or go on in one that has the same record.

    Raises:
        GanError: the folder holds another generator, or cannot be written.
    """
    if (folder / RECORD_NAME).exists():
        if read_record(folder) != record:
            raise GanError(
                f"{folder} holds a generator of other settings or tiles. Give another --out, or "
                "remove it."
            )
        return
    content = record.model_dump_json(indent=1).encode() + b"\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / RECORD_NAME, lambda stream: stream.write(content))
    except OSError as error:
        raise GanError(f"{folder} cannot be written: {error.strerror}.") from error
