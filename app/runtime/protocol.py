"""What every runtime does; the rest of the service knows no more of TensorFlow and LiteRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """What the graph answers for `B` tiles and `C` labels.

    Attributes:
        logits: float32 `[B, C]`, before temperature.
        embedding: float32 `[B, E]`, the pooled features of the base network.
        cam: float32 `[B, h, w, C]`, class-activation maps (Grad-CAM in closed form), before ReLU.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    cam: NDArray[np.float32]


class Runtime(Protocol):
    """An opened model. `infer` may be called from up to `n_workers` threads at once."""

    @property
    def name(self) -> str:
        """`litert` or `savedmodel`."""

    @property
    def device(self) -> str:
        """Where it computes, in words: `cpu` or the name of the GPU."""

    @property
    def precision(self) -> str:
        """`fp32`, `mixed` (half precision where a GPU gains by it) or `int8`."""

    @property
    def n_workers(self) -> int:
        """How many calls of `infer` are worth having in flight at once."""

    @property
    def computes_in_caller(self) -> bool:
        """Whether `infer` computes on the thread that calls it, rather than on others."""

    @property
    def n_warm_ups(self) -> int:
        """How many calls it takes, one after the other, until every part has run once."""

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        """Run the graph.

        Args:
            tiles: uint8 `[B, side, side, 3]` RGB, as `app.core.tile.decode_tile` makes them.
            alone: nobody else is at work, so these tiles may have every core. The answer is the
                same.
        """

    def close(self) -> None:
        """Give memory back; no call may follow."""
