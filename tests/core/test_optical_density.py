from __future__ import annotations

import numpy as np
import pytest

from app.core.optical_density import density_by_value, values_of_density

EVERY_VALUE = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize(("offset", "floor"), [(1.0, 0.0), (0.0, 0.5)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_of_density_inverts_density_by_value(
    dtype: type[np.float32], offset: float, floor: float
) -> None:
    density = density_by_value(dtype, offset=offset, floor=floor)
    assert density.dtype == dtype
    assert np.isfinite(density).all()
    assert density[255] == 0
    assert (np.diff(density) < 0).all()
    values = values_of_density(density, offset)
    np.testing.assert_array_equal(values[1:], EVERY_VALUE[1:])
    assert values[0] <= 1, "black, rounded from half a grey level at most"


def test_density_by_value_is_what_released_input_gates_were_fitted_with() -> None:
    expected = -np.log((EVERY_VALUE.astype(np.float32) + 1.0) / 256.0)
    np.testing.assert_array_equal(density_by_value(np.float32, offset=1.0), expected)


def test_density_by_value_is_what_released_models_training_views_were_drawn_with() -> None:
    expected = -np.log(np.arange(256).clip(0.5) / 255.0)
    np.testing.assert_array_equal(density_by_value(np.float64, floor=0.5), expected)
