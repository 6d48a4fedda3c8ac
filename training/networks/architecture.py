"""How a registry entry describes a system, without importing Keras.

A system is what `network.system` and `osteo-train systems` name: a backbone, the scaling of its
input, and the kind of head that classifies its pooled features.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

PAPER_SIDE_PX: Final = 224
"""Side of the tiles in the seed paper, the same for every network."""

BuildBackbone = Callable[[int, str | None], Any]
"""From the side of a tile (px) and weights (as Keras takes them; None leaves them random) to a
backbone, which maps scaled float32 `[B, side, side, 3]` to a feature map `[B, h, w, E]`."""

Head = Literal["dense", "svm"]
"""What classifies the pooled features: two dense layers, or a linear support vector machine."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How uint8 RGB becomes a backbone's input: `tile / divisor + offset`, in RGB or BGR order.

    Attributes:
        divisor: the same for all channels.
        offset: one number, or one per channel in the order R, G, B.
        is_bgr: reverse the channels; the backbone was trained on blue, green, red.
    """

    divisor: float = 1.0
    offset: float | tuple[float, float, float] = 0.0
    is_bgr: bool = False

    def apply(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale uint8 `[..., 3]` RGB to float32 of the same shape."""
        offset = np.asarray(self.offset, dtype=np.float32)
        scaled: NDArray[np.float32] = tiles.astype(np.float32) / np.float32(self.divisor) + offset
        return scaled[..., ::-1] if self.is_bgr else scaled

    def graph(self, tiles: Any) -> Any:
        """`apply` as part of a Keras graph, so that a bundle takes uint8 tiles."""
        import keras

        offset = list(self.offset) if isinstance(self.offset, tuple) else self.offset
        scaled = keras.layers.Rescaling(1 / self.divisor, offset=offset)(tiles)
        # LiteRT converts `take`, but not a negative step, to one operation.
        return keras.ops.take(scaled, [2, 1, 0], axis=-1) if self.is_bgr else scaled


MINUS_ONE_TO_ONE: Final = Scaling(divisor=127.5, offset=-1.0)
ZERO_TO_ONE: Final = Scaling(divisor=255.0)
UNSCALED: Final = Scaling()
"""For backbones that scale their input themselves."""
CAFFE: Final = Scaling(offset=(-123.68, -116.779, -103.939), is_bgr=True)
"""ImageNet's channel means subtracted, BGR: how VGG was trained in Caffe."""


@dataclass(frozen=True, slots=True)
class System:
    """One system: its backbone, what the backbone needs, and where it was published.

    Attributes:
        name: value of `network.system` in a configuration.
        title: name in reports.
        build: builds the backbone.
        embedding_size: E, the number of channels of the feature map.
        n_parameters: number of parameters of the backbone, without the head.
        paper: where the seed paper mentions it.
        reference: where it was published.
        licence: licence of the weights that Keras downloads.
        scaling: scaling of the backbone's input; part of the exported graph.
        side_px: side of the tiles that the backbone was made for; `network.side_px` overrides it.
        min_side_px: smallest side for which the last feature map is not empty.
        map_side: h and w of the feature map at `side_px`, so also of the Grad-CAM maps.
        seam: where fine-tuning begins by default: the first trained layer, or `after NAME` for the
            last frozen one. None: the system cannot be fine-tuned.
        note: remark in the list of systems.
        is_pretrained: Keras has ImageNet weights; if not, every layer is trained from scratch.
        head: what classifies the pooled features.
        oversamples: every epoch shows each label as often as the most frequent one.
        has_int8: its bundles also hold an int8 file.
    """

    name: str
    title: str
    build: BuildBackbone
    embedding_size: int
    n_parameters: int
    paper: str
    reference: str
    licence: str
    scaling: Scaling = MINUS_ONE_TO_ONE
    side_px: int = PAPER_SIDE_PX
    min_side_px: int = 32
    map_side: int = 7
    seam: str | None = None
    note: str = ""
    is_pretrained: bool = True
    head: Head = "dense"
    oversamples: bool = False
    has_int8: bool = False
