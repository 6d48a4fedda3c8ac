"""Keys of a configuration that were moved or removed.

A TOML file that names one is refused, with what to do. A record of an earlier run is still read:
its moved keys are moved, and its removed switches must be off.
"""

from __future__ import annotations

from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

_REMOVED: Final = {
    "augment.smallest_crop": ("crops of the full tile", 1.0),
    "augment.crop_source_px": ("the resolution of crops", 448),
    "network.n_heads": ("averaging several heads", 1),
    "network.case_directions": ("removing case directions", 0),
    "head.mixup": ("mixup", 0.0),
    "head.tumor_weight": ("the hierarchical loss", 1.0),
    "fine_tune.mixup": ("mixup", 0.0),
    "fine_tune.tumor_weight": ("the hierarchical loss", 1.0),
    "fine_tune.mix_style": ("MixStyle", 0.0),
}
"""Switches that made results worse or changed nothing, and the values that switched them off."""


def with_present_keys(document: dict[str, Any], is_record: bool) -> dict[str, Any]:
    """Move or refuse the former keys of a configuration.

    Args:
        document: the configuration as read.
        is_record: whether it comes from the record of a run instead of a TOML file.

    Raises:
        ValidationError: it names a key that was moved, or a removed switch that is on.
    """
    return _without_removed(_with_side_in_backbone(document, is_record), is_record)


def _with_side_in_backbone(document: dict[str, Any], is_record: bool) -> dict[str, Any]:
    """`network.side_px` moved to `network.backbone.side_px`; records have the old key."""
    network = document.get("network")
    if not isinstance(network, dict) or "side_px" not in network:
        return document
    if not is_record:
        reason = PydanticCustomError("moved_key", "this key is now `network.backbone.side_px`")
        error = InitErrorDetails(type=reason, loc=("network", "side_px"), input=network["side_px"])
        raise ValidationError.from_exception_data("TrainingConfig", [error])
    network = dict(network)
    backbone = {"side_px": network.pop("side_px")} | network.get("backbone", {})
    return document | {"network": network | {"backbone": backbone}}


def _without_removed(document: dict[str, Any], is_record: bool) -> dict[str, Any]:
    """Refuse removed switches; a record of an earlier run may name them, switched off."""
    for key, (title, off) in _REMOVED.items():
        section, name = key.split(".")
        values = document.get(section)
        if not isinstance(values, dict) or name not in values:
            continue
        if not is_record or values[name] != off:
            reason = PydanticCustomError(
                "removed_switch",
                "this switch ({title}) was removed because it made results no better. Delete the "
                "key; docs/recipe.md has the measurements and the commit that still has the switch",
                {"title": title},
            )
            error = InitErrorDetails(type=reason, loc=(section, name), input=values[name])
            raise ValidationError.from_exception_data("TrainingConfig", [error])
        document = document | {section: {k: v for k, v in values.items() if k != name}}
    return document
