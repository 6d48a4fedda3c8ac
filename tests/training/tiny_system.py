"""A pretrained-like system that is built, fitted and exported in a tenth of VGG16's time.

For tests about bookkeeping. `test_registry.py` and `test_system_bundles.py` show the real systems.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from training.networks.architecture import System
from training.networks.registry import SYSTEMS


def _build(side_px: int, weights: str | None) -> Any:
    """Two convolutions, one with batch normalisation; the weights are always random."""
    from keras import Input, Model, layers

    assert weights is None
    tiles = Input((side_px, side_px, 3))
    first = layers.Conv2D(8, 5, strides=4, padding="same", activation="relu", name="conv1")(tiles)
    second = layers.Conv2D(16, 3, strides=4, padding="same", use_bias=False, name="conv2")(first)
    normal = layers.BatchNormalization(name="norm2")(second)
    return Model(tiles, layers.Activation("relu", name="relu2")(normal), name="tiny")


TINY: Final = System(
    name="tiny",
    title="Tiny",
    build=_build,
    embedding_size=16,
    n_parameters=1824,
    paper="not in it",
    reference="none",
    licence="none needed",
    side_px=64,
    map_side=4,
    seam="conv2",
)

FROM_SCRATCH: Final = replace(TINY, name="tiny-from-scratch", seam=None, is_pretrained=False)


def register() -> None:
    """Let configurations name them, in a process of its own: nothing restores the registry."""
    SYSTEMS.update({system.name: system for system in (TINY, FROM_SCRATCH)})
