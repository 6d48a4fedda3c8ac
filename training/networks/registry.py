"""The systems by name. To add one, write an entry and list it here; nothing else changes."""

from __future__ import annotations

from typing import Final

from training.errors import RunError
from training.networks.architecture import System
from training.networks.from_scratch import ALEXNET, COMPACT_CNN
from training.networks.pretrained import (
    CONVNEXTTINY,
    EFFICIENTNETV2B0,
    INCEPTIONRESNETV2,
    INCEPTIONV3,
    INCEPTIONV3_SVM,
    MOBILENETV2,
    RESNET50V2,
    VGG16,
    XCEPTION,
)
from training.networks.table_systems import TABLE_SYSTEMS, find_table_system

SYSTEMS: Final[dict[str, System]] = {
    system.name: system
    for system in (
        MOBILENETV2,
        RESNET50V2,
        XCEPTION,
        INCEPTIONRESNETV2,
        INCEPTIONV3,
        VGG16,
        ALEXNET,
        EFFICIENTNETV2B0,
        CONVNEXTTINY,
        COMPACT_CNN,
        INCEPTIONV3_SVM,
    )
}
"""In reporting order: the four of the seed paper's study first."""

DEFAULT_SYSTEM: Final = MOBILENETV2


def require_known(name: str) -> str:
    """The name, if a system that reads pixels or a table has it.

    Raises:
        ValueError: there is no such system; the message lists the names.
    """
    return name if name in TABLE_SYSTEMS else find_system(name).name


def pixel_system(name: str) -> System:
    """The system of this name, for every step that needs pixels.

    Raises:
        RunError: it reads a table.
        ValueError: there is none.
    """
    if (table_system := find_table_system(name)) is not None:
        raise RunError(table_system.no_bundle)
    return find_system(name)


def find_system(name: str) -> System:
    """The system of this name that reads pixels.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    if name in TABLE_SYSTEMS:
        raise ValueError(f"{name!r} reads a feature table, not pixels")
    try:
        return SYSTEMS[name]
    except KeyError:
        known = ", ".join((*SYSTEMS, *TABLE_SYSTEMS))
        raise ValueError(f"there is no system {name!r}: one of {known}") from None
