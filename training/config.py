"""A training run's configuration: TOML as one frozen model, with errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import Field, ValidationInfo, model_validator

from training.augmentation.views import AugmentConfig
from training.data.label_set import LabelSet
from training.data.labels import COLLECTION_LABELS, MixedTiles
from training.data.tile_rules import COLLECTION_SIDE_PX, TileSide
from training.distributed import StrategyName
from training.former_keys import with_present_keys
from training.networks.config import NetworkConfig
from training.networks.table_systems import find_table_system, require_no_other_setting
from training.storage.frozen_model import FrozenModel
from training.storage.toml import parse_document, read_toml

CONFIGS_DIR: Final = Path(__file__).parent / "configs"
RELEASED_CONFIG: Final = CONFIGS_DIR / "osteo-mobilenetv2.toml"

Balance = Literal["none", "label", "slide", "case", "case_and_label"]
"""What is shown equally often; `none` shows every tile equally often."""


class SourceConfig(FrozenModel):
    """Where one's own tiles come from, for the manifest and the model card."""

    name: str = Field(default="Own tiles", min_length=1, description="Name of the data set.")
    url: str = Field(default="", description="Where it is published.")
    licence: str = Field(default="not stated", description="Its licence.")
    citation: str = Field(default="", description="How to cite it. [default: its name]")
    stain: str = Field(default="H&E", min_length=1, description="The stain.")
    tissue: str = Field(default="tissue", min_length=1, description="Organ or tumour, in words.")
    objective_power: float | None = Field(
        default=None, gt=0, description="Nominal magnification, such as 20."
    )
    mpp: float | None = Field(default=None, gt=0, description="Micrometres per pixel.")


class DataConfig(FrozenModel):
    """The training data."""

    mixed_tiles: MixedTiles = Field(
        default="viable", description="What to do with tiles that the table calls mixed."
    )
    tile_side_px: TileSide = Field(
        default=COLLECTION_SIDE_PX,
        description="Side that every tile must have, in pixels; `[MIN, MAX]` for a range, or "
        '`"any"`. The largest centred square of a tile is used.',
    )
    source: SourceConfig | None = Field(
        default=None, description="Where the tiles come from, unless they are the collection's."
    )


class SplitsConfig(FrozenModel):
    """How the three kinds of split are made."""

    seed: int = Field(default=0, ge=0, description="Seed of the random and the slide split.")
    random_folds: int = Field(
        default=1,
        ge=1,
        description="1: one 90/10 hold-out, as in the paper; more: cross-validation.",
    )
    slide_folds: int = Field(default=5, ge=2, description="Folds of the slide-grouped split.")


class SamplingConfig(FrozenModel):
    """How often each training tile is shown."""

    balance: Balance = Field(
        default="none",
        description="Draw each of these equally often: `label`, `slide`, `case` or "
        "`case_and_label`. `none` shows every tile equally often.",
    )


class PhaseConfig(FrozenModel):
    """One phase of training with Adam on the categorical cross-entropy."""

    epochs: int = Field(ge=0, description="Passes over the tiles; 0 skips the phase.")
    learning_rate: float = Field(gt=0, description="Constant learning rate of Adam.")
    batch_size: int = Field(default=32, ge=1, description="Views per step.")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each target that is spread over all labels."
    )
    averaging: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Momentum of the running average of the weights with which the phase ends; "
        "0 ends with the last step's weights.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="Decoupled (AdamW, Loshchilov & Hutter 2019): weights shrink by this times the "
        "learning rate each step.",
    )


class FineTuneConfig(PhaseConfig):
    """The optional second phase, at a low rate; batch normalisation does not change."""

    epochs: int = Field(default=0, ge=0, description="Passes over the tiles; 0 skips the phase.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Constant learning rate of Adam.")
    first_layer: str | None = Field(
        default=None,
        description="The first trained layer of the backbone; the layers before it stay frozen. "
        "`after NAME` starts behind a layer. By default, the system decides.",
    )
    views_per_epoch: int = Field(
        default=4,
        ge=0,
        description="Transformed views of a tile in one epoch, drawn at random.",
    )


class DistributeConfig(FrozenModel):
    """Several GPUs or machines; the weights differ by rounding only."""

    strategy: StrategyName = Field(
        default="none",
        description="`none`; `mirrored`: all GPUs of this machine; `multi_worker`: the machines "
        "that TF_CONFIG names; run the same command on each.",
    )


class GanConfig(FrozenModel):
    """Synthetic tiles in training, from the generators of `osteo-train gan fit`."""

    proportion: float = Field(
        default=0.0,
        ge=0,
        le=4,
        description="Synthetic tiles for each real training tile, label by label: 0.25 adds one to "
        "four; 0 adds none.",
    )
    dir: str = Field(default="runs/gan", description="Folder of the generators.")


class SupplementsConfig(FrozenModel):
    """What teaches the model beside the tiles of the index, and is never tested by a split."""

    thumbnails: str = Field(
        default="",
        description="Folder of low-resolution tiles, `LABEL/NAME.png`, named as in the collection; "
        "`augment.low_resolution_px` must be set. OSTEO_THUMBNAILS overrides it.",
    )
    feature_table: str = Field(
        default="",
        description="The collection's feature table, whose rows teach the texture part. "
        "OSTEO_FEATURE_TABLE overrides it.",
    )


class TrainingConfig(FrozenModel):
    """All settings of a run; the resolved values go into the manifest."""

    model_name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the model.")
    model_version: str = Field(
        default="1", pattern=r"^[1-9][0-9]*$", description="Version of the model."
    )
    seed: int = Field(default=0, ge=0, description="Seed of views, initial weights and order.")
    data: DataConfig = DataConfig()
    labels: LabelSet = Field(
        default=COLLECTION_LABELS,
        description="What the model tells apart, in the order of the file: a table for each label "
        "with `name`, `tumor`, `colour` and `aliases`.",
    )
    splits: SplitsConfig = SplitsConfig()
    augment: AugmentConfig = AugmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    gan: GanConfig = GanConfig()
    supplements: SupplementsConfig = SupplementsConfig()
    network: NetworkConfig = NetworkConfig()
    head: PhaseConfig = PhaseConfig(epochs=30, learning_rate=1e-3)
    fine_tune: FineTuneConfig = FineTuneConfig()
    distribute: DistributeConfig = DistributeConfig()

    @model_validator(mode="before")
    @classmethod
    def _names_present_keys(cls, document: Any, info: ValidationInfo) -> Any:
        if not isinstance(document, dict):
            return document
        return with_present_keys(document, is_record=info.mode == "json")

    @model_validator(mode="after")
    def _balances_no_synthetic_tiles_by_place(self) -> Self:
        if self.gan.proportion > 0 and self.sampling.balance not in ("none", "label"):
            raise ValueError(
                f"gan.proportion must be 0 if sampling.balance is {self.sampling.balance!r}: "
                "a synthetic tile has no slide and no case"
            )
        return self

    @model_validator(mode="after")
    def _suits_its_supplements(self) -> Self:
        if self.supplements.thumbnails and self.augment.low_resolution_px == 0:
            raise ValueError(
                "augment.low_resolution_px must be above 0 if supplements.thumbnails is set: else "
                "the resolution of a tile would tell its label"
            )
        if self.supplements.thumbnails and self.gan.proportion > 0:
            raise ValueError("gan.proportion must be 0 if supplements.thumbnails is set")
        is_weighed = self.network.head == "logistic" and self.sampling.balance != "none"
        if self.supplements.thumbnails and not is_weighed:
            raise ValueError(
                "supplements.thumbnails needs network.head = 'logistic' and a sampling.balance: "
                "only that head shows each label equally often at each resolution"
            )
        if self.network.texture_weight > 0 and self.network.head != "logistic":
            raise ValueError("network.texture_weight needs network.head = 'logistic'")
        return self

    @model_validator(mode="after")
    def _suits_the_system(self) -> Self:
        if (table_system := find_table_system(self.network.system)) is not None:
            require_no_other_setting(self, table_system)
            return self
        system = self.network.entry
        if self.fine_tune.epochs > 0 and system.seam is None:
            raise ValueError(f"fine_tune.epochs must be 0: {system.title} has no second phase")
        network = self.network
        is_trained_whole = not system.is_pretrained or self.fine_tune.epochs > 0
        if is_trained_whole and not network.backbone.is_default:
            raise ValueError(
                "network.backbone must pool the mean of the last layer and leave tile_side_px out: "
                "other features are taken from a frozen backbone only"
            )
        if network.head == "logistic" and (is_trained_whole or system.head == "svm"):
            raise ValueError(
                f"network.head must be 'dense': {system.title} has no logistic regressions on the "
                "features of a frozen backbone"
            )
        has_frozen_head = system.is_pretrained and system.head != "svm"
        if network.standardize > 0 and not has_frozen_head:
            raise ValueError(
                f"network.standardize must be 0: {system.title} has no head on the features of a "
                "frozen backbone"
            )
        if network.standardize > 0 and network.head == "logistic":
            raise ValueError("network.standardize must be 0: a logistic head always standardises")
        return self


def read_config(
    path: Path,
    weights: str | None = None,
    thumbnails: Path | None = None,
    feature_table: Path | None = None,
) -> TrainingConfig:
    """Read a TOML configuration.

    Args:
        path: the file.
        weights: replaces `network.weights`, as OSTEO_WEIGHTS and `--weights` do; ignored if the
            system reads a table.
        thumbnails: replaces `supplements.thumbnails`, as OSTEO_THUMBNAILS and `--thumbnails` do;
            ignored if the configuration shows no tile at low resolution.
        feature_table: replaces `supplements.feature_table`, as OSTEO_FEATURE_TABLE and
            `--feature-table` do; ignored if texture has no weight.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key is wrong, unknown or missing.
    """
    config = read_toml(path, TrainingConfig)
    network, supplements = config.network, config.supplements
    if weights is not None and find_table_system(network.system) is None:
        network = network.model_copy(update={"weights": weights})
    if thumbnails is not None and config.augment.low_resolution_px > 0:
        supplements = supplements.model_copy(update={"thumbnails": str(thumbnails)})
    if feature_table is not None and network.texture_weight > 0:
        supplements = supplements.model_copy(update={"feature_table": str(feature_table)})
    changed = config.model_copy(update={"network": network, "supplements": supplements})
    if supplements == config.supplements:
        return changed
    # What was replaced must suit the rest, as it must in the file.
    return parse_document(changed.model_dump(), TrainingConfig, str(path))
