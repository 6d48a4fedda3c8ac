"""The systems by name. To add one, write an entry and list it here; nothing else changes."""

from __future__ import annotations

from typing import Final

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


def find_system(name: str) -> System:
    """The system of this name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    try:
        return SYSTEMS[name]
    except KeyError:
        raise ValueError(f"there is no system {name!r}: one of {', '.join(SYSTEMS)}") from None
