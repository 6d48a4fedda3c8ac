from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from benchmarks import study
from training.experiments.study.head import HeadSettings, fit_head

RESULTS: dict[str, Any] = {
    "machine": {"date": "today", "cores": 2, "cpu": "a CPU", "python": "3", "load_at_start": 0.1},
    "n_tiles": 1144,
    "epochs": 2,
    "n_train": 1030,
    "n_test": 114,
    "blend": (0.2, 0.5),
    "weights": "ImageNet",
    "fill_s": 20.0,
    "cache_mib": 5.6,
    "cached_s": [0.5, 0.4, 0.6],
    "cached_accuracy": [0.5, 0.9],
    "base_s": 400.0,
    "base_accuracy": [0.5, 0.9],
    "load_at_end": 2.0,
}


def rows_of(results: dict[str, Any]) -> list[list[str]]:
    lines = study.render(results).splitlines()
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "|" in line]


def test_render_reports_goals_that_are_met() -> None:
    rows = rows_of(RESULTS)
    assert ["times faster", "800", "at least 50", "yes"] in rows
    assert ["seconds of 2 epochs", "0.50", "at most 5", "yes"] in rows


@pytest.mark.parametrize(
    ("key", "value", "row"),
    [
        ("cached_s", [6.0], "seconds of 2 epochs"),
        ("base_s", 20.0, "times faster"),
        ("base_accuracy", [0.48, 0.9], "largest gap of test accuracies, points"),
    ],
)
def test_render_reports_goals_that_are_missed(key: str, value: object, row: str) -> None:
    met = {cells[0]: cells[-1] for cells in rows_of({**RESULTS, key: value})[5:]}
    assert met[row] == "no"


@pytest.mark.tensorflow
def test_both_ways_train_the_same_head() -> None:
    """Both ways have the same test accuracy after every epoch."""
    import keras

    from training.features.extract import as_function

    keras.utils.set_random_seed(0)
    layers = keras.layers
    shown = layers.Input((224, 224, 3))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(8, 32, strides=32)(shown))
    base = keras.Model(shown, pooled)
    tiles, truth = study.draw_blended(12)
    assert sorted(set(truth.tolist())) == [0, 1, 2]
    train, test = np.arange(8), np.arange(8, 12)
    settings = HeadSettings(0.01, (3,), 32)
    features = as_function(base)(study.scaled(tiles))[:, None, :]
    cached = fit_head(features, truth, train, test, settings)
    _, accuracy = study._run_through_base(base, tiles, truth, train, test, settings)
    assert accuracy == (cached.answers == truth[test]).mean(axis=1).tolist()
