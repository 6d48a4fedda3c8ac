"""A hundred fits in one process take as much memory as one."""

from __future__ import annotations

import gc
from pathlib import Path

import numpy as np
import pytest

from training.config import read_config
from training.features.prepare import prepare_features
from training.fit.classifier import fit_classifier
from training.networks.backbone import BackboneConfig


def n_graphs() -> int:
    """Compiled functions that TensorFlow still holds."""
    gc.collect()
    return sum(type(found).__name__ == "FuncGraph" for found in gc.get_objects())


@pytest.mark.tensorflow
def test_fits_leave_no_graph_behind(tiny_config: Path) -> None:
    config = read_config(tiny_config)
    network = config.network.model_copy(
        update={"system": "tiny", "backbone": BackboneConfig(side_px=32)}
    )
    fine_tune = config.fine_tune.model_copy(update={"epochs": 0})
    config = config.model_copy(update={"network": network, "fine_tune": fine_tune})
    tiles = np.random.default_rng(0).integers(256, size=(6, 32, 32, 3), dtype=np.uint8)
    features = prepare_features(tiles, np.arange(6) % 3, config)

    def fit() -> int:
        fit_classifier(features, config, np.arange(5), np.arange(5, 6), seed=0)
        return n_graphs()

    before = fit()
    assert fit() == before
