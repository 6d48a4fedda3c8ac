"""The candidates of a nested choice: a base configuration, and lists of what is varied.

Every combination of the lists is a candidate. All use the same views and features, so the parts of
a head are fitted once for each set of training tiles, however many candidates share them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

from pydantic import Field

from training.config import CONFIGS_DIR, TrainingConfig, read_config
from training.errors import ConfigError
from training.storage.frozen_model import FrozenModel
from training.storage.toml import read_toml

NESTED_DIR: Final = Path(__file__).parent / "configs"
DEFAULT_NESTED: Final = NESTED_DIR / "default.toml"


class Grid(FrozenModel):
    """Lists of which every combination is a candidate."""

    layers: tuple[tuple[str, ...], ...] = Field(
        min_length=1, description="Sets of layers; an empty set leaves texture alone."
    )
    penalty_c: tuple[float, ...] = Field(
        default=(0.1,), min_length=1, description="Values of `network.penalty_c`."
    )
    thumbnails: tuple[bool, ...] = Field(
        default=(False, True), min_length=1, description="Whether low-resolution tiles teach."
    )
    texture_weight: tuple[float, ...] = Field(
        default=(0.0,), min_length=1, description="Values of `network.texture_weight`."
    )

    @property
    def candidates(self) -> Iterator[Candidate]:
        """Every combination; texture alone has no other setting, so it is one candidate."""
        if () in self.layers:
            yield Candidate((), self.penalty_c[0], False, 1.0)
        chosen = [layers for layers in self.layers if layers]
        lists = chosen, self.texture_weight, self.thumbnails, self.penalty_c
        for layers, weight, has_thumbnails, penalty_c in product(*lists):
            yield Candidate(layers, penalty_c, has_thumbnails, weight)


class NestedConfig(FrozenModel):
    """The file as a whole."""

    base: str = Field(
        description="The configuration that candidates change: a file beside this one or in "
        "training/configs. Its layers are all that candidates may use."
    )
    today: str | None = Field(
        default=None,
        description="The configuration of the released recipe, which is a candidate too.",
    )
    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2, 3, 4), min_length=1, description="Training seeds; the mean is reported."
    )
    min_by_slide: float = Field(
        default=0.83, ge=0, le=1, description="Accuracy by slide that a chosen recipe needs."
    )
    grid: tuple[Grid, ...] = Field(min_length=1, description="The candidates, in order.")

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Those of all grids."""
        return tuple(candidate for grid in self.grid for candidate in grid.candidates)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One recipe: which parts a head averages, and how they are fitted.

    Attributes:
        layers: the pooled layers; none if texture is alone.
        penalty_c: of the regressions on layers.
        has_thumbnails: whether low-resolution tiles teach, with tiles shown at that resolution.
        texture_weight: in units of one layer; 0 leaves texture out.
    """

    layers: tuple[str, ...]
    penalty_c: float
    has_thumbnails: bool
    texture_weight: float

    @property
    def name(self) -> str:
        """Row in the tables."""
        parts = [" + ".join(map(_short, self.layers))] if self.layers else []
        parts += [f"{self.texture_weight:g} x texture"] if self.texture_weight else []
        more = f", C = {self.penalty_c:g}" if self.layers else ""
        return " + ".join(parts) + (", thumbnails" if self.has_thumbnails else "") + more


def read_nested(
    path: Path, weights: str | None, thumbnails: Path | None, feature_table: Path | None
) -> tuple[NestedConfig, TrainingConfig, TrainingConfig | None]:
    """Read the file, its base and the configuration of today's recipe.

    Raises:
        ConfigError: a file or a key is wrong, or a candidate uses a layer that the base lacks.
    """
    nested = read_toml(path, NestedConfig)
    base = read_config(_find(path, nested.base), weights, thumbnails, feature_table)
    known = base.network.backbone.layers
    unknown = {layer for one in nested.candidates for layer in one.layers} - set(known)
    if unknown:
        raise ConfigError(
            str(path),
            "grid.layers",
            f"the base pools {', '.join(known)}, not {', '.join(sorted(unknown))}.",
        )
    today = read_config(_find(path, nested.today), weights) if nested.today else None
    return nested, base, today


def _find(path: Path, name: str) -> Path:
    beside = path.parent / name
    return beside if beside.is_file() else CONFIGS_DIR / name


def _short(layer: str) -> str:
    return layer.removesuffix("_expand_relu").removesuffix("_project_BN").replace("_", " ")
