"""The pictures of a report: small WebP files, which the page contains as data URIs."""

from __future__ import annotations

import base64
import io
import time
from dataclasses import dataclass
from typing import Final

from PIL import Image

from app.core.markup import Html
from app.inference.classifier import Classifier
from app.inference.colour_scale import draw_colour_bar
from app.inference.explanation import PREDICTED
from app.inference.results import TileResult

_OPACITY: Final = 0.6
"""Opacity of the heat map where it is highest, as in `osteo explain`."""
_WEBP: Final = {"quality": 75, "method": 2}
"""Pillow's scales. A picture of 256 px takes 15 kB; method 4, the default, takes twice as long and
saves a fiftieth of the bytes."""
_TYPICAL_TISSUE: Final = (205, 150, 190)
"""sRGB, under the colour bar: eosin with some haematoxylin."""


@dataclass(frozen=True, slots=True)
class PicturedTile:
    """The answer for one tile and its pictures.

    Attributes:
        result: the answer, with the explanation of the predicted label.
        thumbnail: a WebP file: the part of the tile that the model sees.
        overlay: a WebP file: the evidence over it; None if there is no evidence to draw.
    """

    result: TileResult
    thumbnail: bytes
    overlay: bytes | None


def picture_tile(classifier: Classifier, size_px: int, tile_bytes: bytes) -> PicturedTile:
    """Classify a tile, and draw it with and without its evidence.

    Raises:
        TileError: the tile cannot be decoded or exceeds a limit.
        InferenceError: the model returned NaN or infinity.
    """
    result, heat = classifier.classify_and_draw(
        tile_bytes, time.perf_counter(), PREDICTED, "heat", size_px, _OPACITY
    )
    tile = Image.fromarray(classifier.view(tile_bytes, size_px))
    overlay = _laid_over(tile, heat) if isinstance(heat, bytes) else None
    return PicturedTile(result, _encode(tile), overlay)


def colour_bar() -> Html:
    """The colours of evidence as a data URI: low on the left, high on the right."""
    tissue = Image.new("RGB", (1, 1), _TYPICAL_TISSUE)
    bar = draw_colour_bar((16, 160), _OPACITY, tissue)
    return data_uri(_encode(bar.transpose(Image.Transpose.ROTATE_270)))


def data_uri(webp: bytes) -> Html:
    """A WebP file as the address of a picture that the page itself contains."""
    return Html(f"data:image/webp;base64,{base64.b64encode(webp).decode('ascii')}")


def _laid_over(tile: Image.Image, heat: bytes) -> bytes:
    with Image.open(io.BytesIO(heat), formats=["PNG"]) as layer:
        return _encode(Image.alpha_composite(tile.convert("RGBA"), layer.convert("RGBA")))


def _encode(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "WEBP", **_WEBP)
    return stream.getvalue()
