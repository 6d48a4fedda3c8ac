"""The interface of all runtimes, which hides TensorFlow and LiteRT from the rest of the service."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class ModelOutputs:
    """The graph's outputs for `B` tiles and `C` labels.

    Attributes:
        logits: float32 `[B, C]`, before temperature.
        embedding: float32 `[B, E]`, the pooled features of the backbone.
        cam: float32 `[B, h, w, C]`, evidence maps (HiResCAM in closed form), before ReLU.
        n_batch_tiles: tiles in the micro-batch that they ran in; 1 without micro-batches.
    """

    logits: NDArray[np.float32]
    embedding: NDArray[np.float32]
    cam: NDArray[np.float32]
    n_batch_tiles: int = 1


class Runtime(Protocol):
    """An opened model. Up to `n_workers` threads may call `infer` at once."""

    @property
    def name(self) -> str:
        """`litert` or `savedmodel`."""

    @property
    def device(self) -> str:
        """The device that computes: `cpu` or the name of the GPU."""

    @property
    def precision(self) -> str:
        """`fp32`, `mixed` (half precision where it is faster on a GPU) or `int8`."""

    @property
    def n_workers(self) -> int:
        """Number of `infer` calls that should be in flight at once for full throughput."""

    @property
    def computes_in_caller(self) -> bool:
        """Whether `infer` computes on the calling thread rather than on others."""

    @property
    def n_warm_ups(self) -> int:
        """Number of consecutive `infer` calls after which every part has run once."""

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        """Run the graph.

        Args:
            tiles: uint8 `[B, side, side, 3]` RGB, as returned by `app.core.tile.decode_tile`.
            alone: no other tile is being classified, so this call may use every core. The outputs
                are the same.

        Raises:
            InferenceError: the runtime failed.
        """

    def close(self) -> None:
        """Free the memory; no call may follow."""
