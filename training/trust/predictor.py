"""A bundle's model as training measures it: the LiteRT file that the service runs."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from app.bundle import Bundle
from app.core.calibration import probabilities_from_logits
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import ModelOutputs


class Predictor:
    """Runs tiles through a bundle; a context manager."""

    def __init__(self, bundle: Bundle, precision: str = "fp32") -> None:
        """Open the bundle's LiteRT file.

        Raises:
            RuntimeUnavailableError: LiteRT cannot run it.
        """
        file = bundle.int8_file if precision == "int8" else bundle.litert_file
        self._runtime = LiteRtRuntime(file, n_workers=1, precision=precision)
        self._temperature = bundle.manifest.temperature

    def outputs(self, tiles: NDArray[np.uint8]) -> ModelOutputs:
        """What the graph answers for uint8 `[n, side, side, 3]`."""
        return self._runtime.infer(tiles)

    def probabilities(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Calibrated probabilities, float32 `[n, C]`."""
        return probabilities_from_logits(self.outputs(tiles).logits, self._temperature)

    def __enter__(self) -> Self:
        """Nothing to do: it is open."""
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        """Give memory back."""
        self._runtime.close()
