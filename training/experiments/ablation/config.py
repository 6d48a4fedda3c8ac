"""The recipes of an ablation, each a configuration with a few keys changed.

The file names a base configuration and lists recipes; a recipe may have its own base. Keys are
dotted (`"head.weight_decay" = 5.0`). Every recipe is resolved before anything is fitted, so a
misspelt key costs no time.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator

from training.config import CONFIGS_DIR, TrainingConfig, read_config
from training.errors import ConfigError
from training.storage.frozen_model import FrozenModel
from training.storage.toml import parse_document, read_toml

ABLATIONS_DIR: Final = Path(__file__).parent / "configs"
RELEASED_ABLATION: Final = ABLATIONS_DIR / "recipe.toml"


class RecipeEntry(FrozenModel):
    """One row of the table."""

    name: str = Field(min_length=1, description="Name of the row.")
    base: str | None = Field(
        default=None,
        description="Another base for this recipe: a file beside this one or in training/configs.",
    )
    change: dict[str, Any] = Field(
        default_factory=dict, description="Dotted keys of the configuration and their new values."
    )


class AblationConfig(FrozenModel):
    """The file as a whole."""

    base: str = Field(
        description="The configuration that recipes change: a file beside this one or in "
        "training/configs."
    )
    seeds: tuple[int, ...] = Field(
        default=(0, 1, 2),
        min_length=1,
        description="Seeds of views, initial weights and order. A single run is noise.",
    )
    fold_seeds: tuple[int, ...] = Field(
        default=(0,), min_length=1, description="Seeds of the slide folds; the released one is 0."
    )
    recipe: tuple[RecipeEntry, ...] = Field(min_length=1, description="The rows, in order.")

    @model_validator(mode="after")
    def _names_differ(self) -> Self:
        names = [entry.name for entry in self.recipe]
        if len(set(names)) != len(names):
            raise ValueError("two recipes have the same name")
        return self


@dataclass(frozen=True, slots=True)
class Recipe:
    """A row with its resolved configuration."""

    name: str
    config: TrainingConfig


def read_ablation(path: Path, weights: str | None) -> tuple[AblationConfig, tuple[Recipe, ...]]:
    """Read an ablation and resolve all of its recipes.

    Args:
        path: the TOML file.
        weights: replaces every recipe's `network.weights`.

    Raises:
        ConfigError: the file, a base or a changed key is wrong.
    """
    ablation = read_toml(path, AblationConfig)
    recipes = []
    for entry in ablation.recipe:
        base = read_config(_find_base(path, entry.base or ablation.base), weights)
        recipes.append(Recipe(entry.name, change_config(base, entry.change, str(path))))
    return ablation, tuple(recipes)


def change_config(base: TrainingConfig, change: dict[str, Any], where: str) -> TrainingConfig:
    """Set some dotted keys of a configuration to other values.

    Raises:
        ConfigError: there is no such key, or the value is not allowed.
    """
    document = base.model_dump(mode="json")
    for key, value in change.items():
        *sections, last = key.split(".")
        section: Any = document
        for name in sections:
            section = section.get(name)
            if not isinstance(section, dict):
                raise ConfigError(where, key, "there is no such key (is it misspelt?).")
        section[last] = value
    return parse_document(document, TrainingConfig, where)


def _find_base(path: Path, name: str) -> Path:
    beside = path.parent / name
    return beside if beside.is_file() else CONFIGS_DIR / name
