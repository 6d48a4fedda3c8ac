"""The released int8 file answers the real tiles as its manifest says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from app.bundle import open_bundle
from app.core.calibration import probabilities_from_logits
from app.runtime.select import Precision, open_runtime
from tests.training.release.conftest import RELEASED
from training.data.annotations import find_table, read_table
from training.data.index import build_index
from training.features.extract import read_tiles

_PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
_TOLERANCE = 1e-3
"""Another processor may round differently than the one that released the bundle."""


@pytest.mark.real_tiles
def test_int8_of_version_4_answers_the_real_tiles_as_recorded(real_dir: Path) -> None:
    bundle = open_bundle(RELEASED / "osteo-mobilenetv2" / "4")
    manifest, recorded = bundle.manifest, bundle.manifest.int8
    assert recorded is not None
    index, _ = build_index(real_dir, read_table(find_table(real_dir)))
    assert len(index.tiles) == recorded.n_tiles == 41
    tiles = read_tiles(index, real_dir, manifest.input.side_px)

    probabilities = []
    for precision in _PRECISIONS:
        runtime = open_runtime(bundle, "litert", n_workers=1, precision=precision)
        assert runtime.precision == precision
        logits = runtime.infer(tiles).logits
        runtime.close()
        probabilities.append(probabilities_from_logits(logits, manifest.temperature))
    full, rounded = probabilities
    np.testing.assert_array_equal(rounded.argmax(axis=1), full.argmax(axis=1))
    largest = float(np.abs(rounded - full).max())
    assert 0 < largest <= recorded.max_probability_difference + _TOLERANCE
