"""A study's configuration: a TOML file read into a frozen model, with errors that name the key."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from app.core.manifest import SplitKind
from training.augmentation.views import AugmentConfig
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS, MixedTiles
from training.errors import RunError
from training.networks.registry import find_system
from training.storage.frozen_model import FrozenModel
from training.storage.toml import read_toml

ViewMode = Literal["cached", "online"]
"""`cached`: a fixed number of views, computed once. `online`: new views in every epoch."""
LEFT_OUT: Final = "left out with --system"
"""The reason for a system that `--system` does not name."""


class SystemConfig(FrozenModel):
    """One frozen backbone."""

    weights: str = Field(
        default="imagenet",
        description="`imagenet` (downloaded by Keras), `none` (untrained, for tests) or a path.",
    )
    side_px: int = Field(default=224, ge=32, description="Side of the input in pixels.")
    not_run: str | None = Field(
        default=None,
        min_length=1,
        description="Why this system is not run. Its rows stay in the report, with this reason.",
    )


class HeadConfig(FrozenModel):
    """Settings of every head."""

    hidden_units: int = Field(default=100, ge=1, description="Width of the hidden layer.")
    batch_size: int = Field(default=32, ge=1, description="Views in each step of Adam.")


class GridConfig(FrozenModel):
    """Figure 3: several runs of every system, rate and number of epochs, no augmentation."""

    systems: tuple[str, ...] = Field(description="Names of tables under [systems].")
    learning_rates: tuple[float, ...] = Field(
        min_length=1, description="Constant learning rates of Adam."
    )
    epochs: tuple[int, ...] = Field(min_length=1, description="Numbers of epochs.")
    runs: int = Field(default=5, ge=1, description="Runs whose accuracy is averaged.")
    share_prefix: bool = Field(
        default=False,
        description="Take the results for fewer epochs from the run of the most epochs, with the "
        "same split, initial weights and order. This takes a third of the fits, but runs of "
        "different lengths are not independent. Off: each run has its own weights and order.",
    )

    @field_validator("learning_rates")
    @classmethod
    def _are_positive(cls, rates: tuple[float, ...]) -> tuple[float, ...]:
        if min(rates) <= 0:
            raise ValueError("a learning rate must be above 0")
        return rates

    @field_validator("epochs")
    @classmethod
    def _are_counts(cls, epochs: tuple[int, ...]) -> tuple[int, ...]:
        if min(epochs) < 1:
            raise ValueError("a number of epochs must be 1 or more")
        return epochs


class RowConfig(FrozenModel):
    """A row of Table 1: the transforms of the copies; a row without transforms has no copies."""

    name: str = Field(min_length=1, description="Name of the row.")
    rotation_degrees: float = Field(default=0.0, ge=0, le=180, description="Largest rotation.")
    horizontal_flip: bool = Field(default=False, description="Mirror half of the views, at random.")
    zoom: float = Field(
        default=0.0,
        ge=0,
        le=4,
        description="Magnification from max(1 - zoom, 0.5) to 1 + zoom.",
    )

    @property
    def is_augmented(self) -> bool:
        """Whether the row has transforms."""
        return self.horizontal_flip or self.rotation_degrees > 0 or self.zoom > 0

    @property
    def augment(self) -> AugmentConfig:
        """One view of this row, as `training.augmentation.views` draws it."""
        return AugmentConfig(
            n_views=1,
            rotation_degrees=self.rotation_degrees,
            horizontal_flip=self.horizontal_flip,
            zoom=self.zoom,
        )


class TableConfig(FrozenModel):
    """Table 1: augmentations; heads are fitted on originals and transformed copies together."""

    systems: tuple[str, ...] = Field(description="Names of tables under [systems].")
    learning_rate: float = Field(default=1e-3, gt=0, description="Constant learning rate of Adam.")
    epochs: int = Field(default=50, ge=1, description="Passes over the tiles and their copies.")
    runs: int = Field(default=5, ge=1, description="Runs whose accuracy is averaged.")
    mode: ViewMode = Field(default="cached", description="`cached` or `online` views.")
    n_views: int = Field(default=4, ge=1, description="Cached transformed views of each tile.")
    views_per_epoch: int = Field(
        default=1, ge=1, description="Transformed views of each tile in an epoch, drawn at random."
    )
    rows: tuple[RowConfig, ...] = Field(min_length=1, description="The rows, in order.")

    @model_validator(mode="after")
    def _has_the_views(self) -> Self:
        if self.mode == "cached" and self.views_per_epoch > self.n_views:
            raise ValueError("views_per_epoch is more than n_views")
        names = [row.name for row in self.rows]
        if len(set(names)) < len(names):
            raise ValueError("two rows have the same name")
        return self


class SplitKindsConfig(FrozenModel):
    """Beyond the paper: random, slide and patient splits.

    They compare systems without augmentation, and they test the best row of Table 1.
    """

    systems: tuple[str, ...] = Field(
        default=(),
        description="Names of tables under [systems]: the systems that are compared without "
        "augmentation, with the rate and the number of epochs of Table 1.",
    )
    kinds: tuple[SplitKind, ...] = Field(
        default=("random", "slide", "patient"),
        description="Kinds of split; an empty list skips this part.",
    )
    slide_folds: int = Field(default=5, ge=2, description="Folds of the slide-grouped split.")
    random_folds: int = Field(default=10, ge=2, description="Folds of the random split.")
    footprints: tuple[int, ...] = Field(
        default=(1024, 2048, 4096),
        description="Sides of a tile in the units of its name's x and y, to count overlaps; the "
        "collection does not document the scale.",
    )

    def n_folds(self, n_cases: int) -> dict[SplitKind, int]:
        """Number of folds of each chosen kind of split; the patient split has one for each case."""
        folds: dict[SplitKind, int] = {
            "random": self.random_folds,
            "slide": self.slide_folds,
            "patient": n_cases,
        }
        return {kind: folds[kind] for kind in self.kinds}


class StudyConfig(FrozenModel):
    """Everything that determines what a study does."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the study.")
    seed: int = Field(
        default=0, ge=0, description="Seed of splits, views, initial weights and order."
    )
    mixed_tiles: MixedTiles = Field(
        default="viable", description="How the index must count mixed tiles."
    )
    labels: LabelSet = Field(
        default=COLLECTION_LABELS, description="The labels of the index, in the order of the file."
    )
    systems: dict[str, SystemConfig] = Field(min_length=1, description="The backbones.")
    head: HeadConfig = HeadConfig()
    grid: GridConfig
    table: TableConfig
    levels: SplitKindsConfig = SplitKindsConfig()

    @field_validator("systems")
    @classmethod
    def _are_frozen_backbones(cls, systems: dict[str, SystemConfig]) -> dict[str, SystemConfig]:
        for name, system in systems.items():
            entry = find_system(name)
            if not entry.is_pretrained or entry.head != "dense":
                raise ValueError(f"{entry.title} is not a frozen backbone with a dense head")
            if system.side_px < entry.min_side_px:
                raise ValueError(f"{entry.title} needs at least {entry.min_side_px} px")
        return systems

    @model_validator(mode="after")
    def _names_its_systems(self) -> Self:
        for key, names in (
            ("grid", self.grid.systems),
            ("table", self.table.systems),
            ("levels", self.levels.systems),
        ):
            for name in names:
                if name not in self.systems:
                    known = ", ".join(self.systems)
                    raise ValueError(f"{key}.systems names {name!r}; [systems] has {known}")
        return self

    @property
    def running(self) -> dict[str, SystemConfig]:
        """The systems that are run."""
        return {name: entry for name, entry in self.systems.items() if entry.not_run is None}

    def only(self, names: tuple[str, ...]) -> StudyConfig:
        """The same study, running only some of its systems.

        Raises:
            RunError: the study does not name one of them, or runs none of them.
        """
        self._require_known(names)
        left_out = {name: LEFT_OUT for name in self.running if name not in names}
        return self.without(left_out)

    def without(self, reasons: dict[str, str]) -> StudyConfig:
        """The same study, not running some systems; their rows stay, with the reasons.

        Raises:
            RunError: the study does not name one of them, or would run none.
        """
        self._require_known(reasons)
        chosen = self._with_systems({name: {"not_run": why} for name, why in reasons.items()})
        if not chosen.running:
            raise RunError("No system of this study is left to run.")
        return chosen

    def with_weights(self, weights: dict[str, str]) -> StudyConfig:
        """The same study with other weights for some systems."""
        return self._with_systems({name: {"weights": file} for name, file in weights.items()})

    def _require_known(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.systems:
                known = ", ".join(self.systems)
                raise RunError(f"There is no system {name!r} in this study; it has {known}.")

    def _with_systems(self, changes: dict[str, dict[str, str]]) -> StudyConfig:
        systems = {
            name: entry.model_copy(update=changes.get(name, {}))
            for name, entry in self.systems.items()
        }
        return self.model_copy(update={"systems": systems})


def read_study(path: Path) -> StudyConfig:
    """Read a study's TOML file.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key is wrong, unknown or missing.
    """
    return read_toml(path, StudyConfig)
