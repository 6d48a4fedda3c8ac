"""What an entry of the registry says of a system; no Keras is imported to read it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

PAPER_SIDE_PX: Final = 224
"""Side of the tiles in the seed paper, for every network alike."""

BuildBase = Callable[[int, str | None], Any]
"""From the side of a tile (px) and the weights (as Keras takes them, None: untrained) to a network:
scaled float32 `[B, side, side, 3]` to a feature map `[B, h, w, E]`."""

Head = Literal["dense", "svm"]
"""What answers on the pooled features: two dense layers, or a linear support vector machine."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """How uint8 RGB becomes a network's input: `tile / divisor + offset`, in [R, G, B] or reversed.

    Attributes:
        divisor: one for all channels.
        offset: one number, or one a channel in the order R, G, B.
        is_bgr: the network was trained on blue, green, red.
    """

    divisor: float = 1.0
    offset: float | tuple[float, float, float] = 0.0
    is_bgr: bool = False

    def apply(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Scale uint8 `[..., side, side, 3]` RGB to float32 of the same shape."""
        offset = np.asarray(self.offset, dtype=np.float32)
        scaled: NDArray[np.float32] = tiles.astype(np.float32) / np.float32(self.divisor) + offset
        return scaled[..., ::-1] if self.is_bgr else scaled

    def graph(self, tiles: Any) -> Any:
        """The same inside a Keras graph, so that a bundle takes uint8 tiles."""
        import keras

        offset = list(self.offset) if isinstance(self.offset, tuple) else self.offset
        scaled = keras.layers.Rescaling(1 / self.divisor, offset=offset)(tiles)
        # `take` rather than a negative step, which LiteRT does not convert to one operation.
        return keras.ops.take(scaled, [2, 1, 0], axis=-1) if self.is_bgr else scaled


MINUS_ONE_TO_ONE: Final = Scaling(divisor=127.5, offset=-1.0)
ZERO_TO_ONE: Final = Scaling(divisor=255.0)
AS_IT_IS: Final = Scaling()
"""For networks whose graph begins with its own scaling."""
CAFFE: Final = Scaling(offset=(-123.68, -116.779, -103.939), is_bgr=True)
"""Means of ImageNet taken off, channels reversed: how the first VGG was trained."""


@dataclass(frozen=True, slots=True)
class System:
    """One system: the base network, what it wants, and where it comes from.

    Attributes:
        name: as `network.system` of a configuration spells it.
        title: for people.
        build: the base network.
        scaling: of its input; inside the graph of a bundle.
        side_px: what the network was made for; `network.side_px` overrules it.
        min_side_px: below, nothing is left of the tile at the last layer.
        embedding_size: channels of the feature map, so numbers of the embedding.
        map_side: rows and columns of the feature map at `side_px`, so of the Grad-CAM maps.
        n_parameters: of the base network, without the head.
        seam: where fine-tuning begins by default: the first layer that is trained, or
            `after NAME`, the last that is not. None: there is no second phase.
        is_pretrained: Keras fetches ImageNet weights. Otherwise everything is trained from scratch.
        head: what answers on the pooled features.
        oversamples: every epoch shows each label as often as the most frequent one.
        has_int8: an int8 file is made and judged with a bundle.
        paper: where the seed paper has it.
        note: what a reader should know.
        reference: where the system was published.
        licence: of the weights that Keras fetches.
    """

    name: str
    title: str
    build: BuildBase
    scaling: Scaling
    side_px: int
    min_side_px: int
    embedding_size: int
    map_side: int
    n_parameters: int
    seam: str | None
    paper: str
    reference: str
    licence: str
    note: str = ""
    is_pretrained: bool = True
    is_exportable: bool = True
    head: Head = "dense"
    oversamples: bool = False
    has_int8: bool = False
