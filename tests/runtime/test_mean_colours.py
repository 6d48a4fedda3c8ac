"""The small network of the tests is what its program writes."""

from __future__ import annotations

import numpy as np
import pytest

from app.runtime.litert import LiteRtRuntime
from tests import mean_colours
from tests.bundles import FakeRuntime


@pytest.mark.tensorflow
def test_file_holds_the_network_that_is_written() -> None:
    tiles = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), np.uint8)
    kept, written = (
        LiteRtRuntime(model, n_workers=1).infer(tiles)
        for model in (mean_colours.FILE, mean_colours.convert())
    )
    np.testing.assert_allclose(kept.logits, FakeRuntime().infer(tiles).logits, rtol=1e-5)
    np.testing.assert_array_equal(kept.logits, written.logits)
    np.testing.assert_array_equal(kept.embedding, written.embedding)
    np.testing.assert_array_equal(kept.cam, written.cam)
