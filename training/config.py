"""A training run's configuration: TOML into one frozen model, with errors that name the key."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from training.augmentation.views import AugmentConfig
from training.data.labels import MixedTiles
from training.data.tile_rules import TILE_SIDE_PX
from training.distributed import StrategyName
from training.networks.architecture import System
from training.networks.registry import DEFAULT_SYSTEM, SYSTEMS, find_system
from training.storage.toml import read_toml

CONFIGS_DIR: Final = Path(__file__).parent / "configs"
RELEASED_CONFIG: Final = CONFIGS_DIR / "osteo-mobilenetv2.toml"


Balance = Literal["none", "label", "slide", "case", "case_and_label"]
"""What is shown equally often; `none` is every tile."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class DataConfig(_Section):
    """What is trained on."""

    mixed_tiles: MixedTiles = Field(
        default="viable", description="What becomes of tiles that the table calls mixed."
    )
    tile_side_px: int = Field(
        default=TILE_SIDE_PX, ge=64, description="Side that every tile must have, in pixels."
    )


class SplitsConfig(_Section):
    """How the three kinds of split are made."""

    seed: int = Field(default=0, ge=0, description="Seed of the random and the slide split.")
    random_folds: int = Field(
        default=1,
        ge=1,
        description="1: one 90/10 hold-out, as in the paper; else cross-validation.",
    )
    slide_folds: int = Field(default=5, ge=2, description="Folds of the slide-grouped split.")


class NetworkConfig(_Section):
    """The graph, and what it starts from."""

    system: str = Field(default=DEFAULT_SYSTEM.name, description="One of `osteo-train systems`.")
    side_px: int | None = Field(
        default=None,
        description="Side of the tiles as the network sees them, in pixels; what the system was "
        "made for where not given (the paper took 224 for all).",
    )
    weights: str = Field(
        default="imagenet",
        description="`imagenet` (Keras fetches them), `none` (untrained, for tests) or a path.",
    )
    hidden_units: int = Field(default=100, ge=1, description="Width of the head's hidden layer.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout on the pooled features, in training only."
    )
    n_heads: int = Field(
        default=1,
        ge=1,
        description="Heads fitted from different seeds, whose logits are averaged: together one "
        "head that is as many times wider.",
    )
    standardize: float = Field(
        default=0.0,
        ge=0,
        description="Above 0: pooled features are centred and divided by their standard deviation "
        "plus this number, over the training tiles, before the head is fitted; folded into its "
        "first layer afterwards.",
    )
    case_directions: int = Field(
        default=0,
        ge=0,
        description="Directions of the feature space, along which the cases differ most within a "
        "label, that are taken out before the head is fitted; folded into its first layer too.",
    )

    @field_validator("system")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return find_system(name).name

    @field_validator("side_px")
    @classmethod
    def _leaves_something(cls, side_px: int | None, info: ValidationInfo) -> int | None:
        system = SYSTEMS.get(info.data.get("system", ""))
        if side_px is not None and system is not None and side_px < system.min_side_px:
            raise ValueError(f"{system.title} needs at least {system.min_side_px} px")
        return side_px

    @property
    def entry(self) -> System:
        """The system's entry in the registry."""
        return SYSTEMS[self.system]

    @property
    def input_side_px(self) -> int:
        """Side of the tiles as the network sees them."""
        return self.side_px or self.entry.side_px


class SamplingConfig(_Section):
    """How often each training tile is shown."""

    balance: Balance = Field(
        default="none",
        description="Each group below is drawn equally often: `label`, `slide`, `case`, "
        "`case_and_label`. `none` shows every tile equally often.",
    )


class PhaseConfig(_Section):
    """One phase of training with Adam on the categorical cross-entropy."""

    epochs: int = Field(ge=0, description="Passes over the tiles; 0 leaves the phase out.")
    learning_rate: float = Field(gt=0, description="Of Adam, constant.")
    batch_size: int = Field(default=32, ge=1, description="Views a step.")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="0 is plain.")
    averaging: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="Momentum of the running average of the weights that is kept in the end; "
        "0 keeps the last step's weights.",
    )
    weight_decay: float = Field(
        default=0.0,
        ge=0,
        description="Decoupled (AdamW, Loshchilov & Hutter 2019): weights shrink by this times the "
        "learning rate each step.",
    )
    mixup: float = Field(
        default=0.0,
        ge=0,
        description="Alpha of mixup (Zhang et al. 2018) on the phase's input; 0 mixes nothing.",
    )
    tumor_weight: float = Field(
        default=1.0,
        gt=0,
        description="Hierarchical loss: the weight of 'tumour or not' beside 'viable or not'; 1 is "
        "the plain cross-entropy.",
    )


class FineTuneConfig(PhaseConfig):
    """The optional second phase, at a low rate; batch normalisation stays as it was."""

    epochs: int = Field(default=0, ge=0, description="0 leaves the phase out.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Of Adam, constant.")
    first_layer: str | None = Field(
        default=None,
        description="Layers of the base from this one on are trained, those before stay frozen; "
        "`after NAME` begins behind a layer. The system's own where not given.",
    )
    views_per_epoch: int = Field(
        default=4, ge=0, description="Transformed views of a tile that one epoch takes, at random."
    )
    mix_style: float = Field(
        default=0.0,
        ge=0,
        description="Alpha of MixStyle (Zhou et al. 2021): channel means and deviations of the "
        "first trained layer's input are mixed between tiles; 0 mixes nothing.",
    )


class DistributeConfig(_Section):
    """Several GPUs or machines; the weights are the same to rounding."""

    strategy: StrategyName = Field(
        default="none",
        description="`none`; `mirrored`: all GPUs of this machine; `multi_worker`: the machines "
        "that TF_CONFIG names, each of which runs the same command.",
    )


class GanConfig(_Section):
    """Synthetic tiles in training, of the generators that `osteo-train gan fit` left."""

    proportion: float = Field(
        default=0.0,
        ge=0,
        le=4,
        description="Synthetic tiles of each label for each real training tile of it: 0.25 is one "
        "to four; 0 takes none.",
    )
    dir: str = Field(default="runs/gan", description="Folder that holds the generators.")


class TrainingConfig(_Section):
    """Everything that decides what a run does; the resolved values go into the manifest."""

    model_name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="Name of the model.")
    model_version: str = Field(
        default="1", pattern=r"^[1-9][0-9]*$", description="Version of the model."
    )
    seed: int = Field(default=0, ge=0, description="Seed of views, initial weights and order.")
    data: DataConfig = DataConfig()
    splits: SplitsConfig = SplitsConfig()
    augment: AugmentConfig = AugmentConfig()
    sampling: SamplingConfig = SamplingConfig()
    gan: GanConfig = GanConfig()
    network: NetworkConfig = NetworkConfig()
    head: PhaseConfig = PhaseConfig(epochs=30, learning_rate=1e-3)
    fine_tune: FineTuneConfig = FineTuneConfig()
    distribute: DistributeConfig = DistributeConfig()

    @model_validator(mode="after")
    def _has_room_for_synthetic_tiles(self) -> Self:
        by_place = self.sampling.balance not in ("none", "label")
        if self.gan.proportion > 0 and (by_place or self.network.case_directions > 0):
            raise ValueError(
                "gan.proportion must be 0 where sampling.balance or network.case_directions ask "
                "for slides or cases: a synthetic tile has none"
            )
        if self.gan.proportion > 0 and self.augment.crops:
            raise ValueError(
                "gan.proportion must be 0 where views are crops: a synthetic tile has no "
                "full-resolution original"
            )
        return self

    @model_validator(mode="after")
    def _has_the_phases(self) -> Self:
        system = self.network.entry
        if self.fine_tune.epochs > 0 and system.seam is None:
            raise ValueError(f"fine_tune.epochs must be 0: {system.title} has no second phase")
        network = self.network
        shapes_head = network.n_heads > 1 or network.standardize > 0 or network.case_directions > 0
        if shapes_head and (system.head == "svm" or not system.is_pretrained):
            raise ValueError(
                "network.n_heads, network.standardize and network.case_directions say nothing to "
                f"{system.title}: it has no head on features of a frozen base"
            )
        return self


def read_config(path: Path, weights: str | None = None) -> TrainingConfig:
    """Read a TOML configuration.

    Args:
        path: the file.
        weights: stands in for `network.weights`, as OSTEO_WEIGHTS and `--weights` do.

    Raises:
        ConfigError: the file cannot be read, is not TOML, or a key is wrong, unknown or missing.
    """
    config = read_toml(path, TrainingConfig)
    if weights is None:
        return config
    network = config.network.model_copy(update={"weights": weights})
    return config.model_copy(update={"network": network})
