"""Systems that read rows of the collection's feature table instead of pixels.

They answer what measures of texture tell about a patient whom no training tile shows. They cannot
classify a tile, since nothing here computes the table's measures from pixels, so no bundle can be
made of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from training.data.feature_columns import FEATURE_COLUMNS, TEXTURE_COLUMNS

_READ_KEYS: Final = frozenset(
    {"model_name", "model_version", "seed", "data", "labels", "splits", "network"}
)
_READ_NETWORK_KEYS: Final = frozenset({"system", "weights"})
"""`weights` is accepted and ignored, because it has a value in every configuration."""


@dataclass(frozen=True, slots=True)
class TableSystem:
    """One system: a support vector machine on some columns of the table.

    Attributes:
        name: value of `network.system` in a configuration.
        title: name in reports.
        reads: the columns, in words.
        columns: the columns that it reads, some of `FEATURE_COLUMNS`.
    """

    name: str
    title: str
    reads: str
    columns: tuple[str, ...]

    @property
    def no_bundle(self) -> str:
        """Why it cannot be exported, as a sentence."""
        return (
            f"{self.title} reads rows of the collection's feature table, not pixels, so it cannot "
            "classify a tile and no bundle can be made of it. Cross-validate it with 'osteo-train "
            "fit --split', or set network.system to a system that reads pixels."
        )


TABLE_SYSTEMS: Final[dict[str, TableSystem]] = {
    system.name: system
    for system in (
        TableSystem(
            "texture-svm",
            "The support vector machine on texture measures",
            f"the {len(TEXTURE_COLUMNS)} texture measures",
            TEXTURE_COLUMNS,
        ),
        TableSystem(
            "table-svm",
            "The support vector machine on all features",
            f"all {len(FEATURE_COLUMNS)} features",
            FEATURE_COLUMNS,
        ),
    )
}


def find_table_system(name: str) -> TableSystem | None:
    """The system of this name; None if it reads pixels."""
    return TABLE_SYSTEMS.get(name)


def require_no_other_setting(config: BaseModel, system: TableSystem) -> None:
    """Refuse settings that a table system does not read, so that none silently does nothing.

    Args:
        config: the whole configuration. Settings with their default value are accepted, because
            the record of a run holds all of them.
        system: the system that it names.

    Raises:
        ValueError: a setting has another value than its default.
    """
    for key in (*_changed(config, _READ_KEYS), *_changed(_network_of(config), _READ_NETWORK_KEYS)):
        raise ValueError(f"{key} must be left out: {system.title} has no such setting")


def _network_of(config: Any) -> BaseModel:
    network: BaseModel = config.network
    return network


def _changed(model: BaseModel, without: frozenset[str]) -> Iterator[str]:
    for name, field in type(model).model_fields.items():
        if name not in without and getattr(model, name) != field.get_default():
            yield name if "network" in type(model).model_fields else f"network.{name}"
