"""The configuration's section `[network]`: backbone, head and initial weights."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from training.networks.architecture import System
from training.networks.backbone import BackboneConfig
from training.networks.registry import DEFAULT_SYSTEM, SYSTEMS, pixel_system, require_known
from training.storage.frozen_model import FrozenModel


class NetworkConfig(FrozenModel):
    """The network and its initial weights."""

    system: str = Field(default=DEFAULT_SYSTEM.name, description="One of `osteo-train systems`.")
    backbone: BackboneConfig = Field(
        default=BackboneConfig(), description="What is taken from the backbone."
    )
    head: Literal["dense", "logistic"] = Field(
        default="dense",
        description="What classifies the pooled features: `dense`, two layers trained by [head]; "
        "or `logistic`, the average of one logistic regression for each pooled layer.",
    )
    penalty_c: float = Field(
        default=0.1,
        gt=0,
        description="Inverse strength of the L2 penalty of a `logistic` head.",
    )
    texture_weight: float = Field(
        default=0.0,
        ge=0,
        description="Weight of the texture part of a `logistic` head, in units of one layer's; "
        "above 0, it learns from the collection's feature table (`supplements.feature_table`).",
    )
    texture_penalty_c: float = Field(
        default=0.01, gt=0, description="As `penalty_c`, for the texture part."
    )
    weights: str = Field(
        default="imagenet",
        description="`imagenet` (Keras downloads them), `none` (untrained, for tests) or a path.",
    )
    hidden_units: int = Field(default=100, ge=1, description="Width of the head's hidden layer.")
    dropout: float = Field(
        default=0.0, ge=0, lt=1, description="Dropout on the pooled features, in training only."
    )
    standardize: float = Field(
        default=0.0,
        ge=0,
        description="Above 0: pooled features are centred and divided by their standard deviation "
        "plus this number, over the training tiles, before the head is fitted; the exported head "
        "includes this step.",
    )

    @field_validator("system")
    @classmethod
    def _is_known(cls, name: str) -> str:
        return require_known(name)

    @field_validator("backbone")
    @classmethod
    def _suits_the_system(cls, backbone: BackboneConfig, info: ValidationInfo) -> BackboneConfig:
        system = SYSTEMS.get(info.data.get("system", ""))
        if system is None:
            return backbone
        side_px = backbone.side_px or system.side_px
        if side_px < system.min_side_px:
            raise ValueError(f"{system.title} needs a side of at least {system.min_side_px} px")
        tile_side_px = backbone.tile_side_px or side_px
        if tile_side_px % side_px != 0:
            raise ValueError(f"tile_side_px must be a multiple of {side_px}, not {tile_side_px}")
        return backbone

    @property
    def entry(self) -> System:
        """The system's entry in the registry; RunError if it reads a table (`TABLE_SYSTEMS`)."""
        return pixel_system(self.system)

    @property
    def input_side_px(self) -> int:
        """Side of the tiles that the graph takes, in pixels."""
        return self.backbone.tile_side_px or self.backbone_side_px

    @property
    def backbone_side_px(self) -> int:
        """Side of the backbone's input in pixels."""
        return self.backbone.side_px or self.entry.side_px
