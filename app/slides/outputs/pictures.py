"""Pictures as files: PNG with the notice in it, and WebP inside of a page."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from app import __version__
from app.core.markup import Html
from app.slides.outputs.subject import OutputSubject

_WEBP: Final = {"quality": 80, "method": 2}
"""Pillow's scales. Method 4, the default, takes twice as long and saves a fiftieth of the bytes."""
# As for heat maps of a tile: level 6, the default, takes several times as long.
_PNG: Final = {"compress_level": 1, "compress_type": zlib.Z_RLE}


def write_png(path: Path, picture: Image.Image, what: str, subject: OutputSubject) -> None:
    """Write a PNG file that says in text chunks what it shows and that it is preliminary.

    Args:
        path: the file.
        picture: mode RGB or RGBA.
        what: a sentence about the picture.
        subject: what it was drawn from.

    Raises:
        OSError: the file cannot be written.
    """
    summary = subject.summary
    texts = PngInfo()
    # Registered keywords: PNG, third edition (W3C 2025), 11.3.3.2.
    texts.add_text("Disclaimer", f"{summary.status}. {summary.notice}")
    texts.add_text("Description", what)
    texts.add_text("Software", f"osteo {__version__}")
    texts.add_text("Slide-SHA-256", summary.sha256)
    texts.add_text("Bundle-SHA-256", summary.model.bundle_sha256)
    with path.open("wb") as stream:
        picture.save(stream, "PNG", pnginfo=texts, **_PNG)


def data_uri(picture: Image.Image) -> Html:
    """A picture as the address of a WebP file that the page itself contains."""
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "WEBP", **_WEBP)
    return Html(f"data:image/webp;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}")


def reduced(overview: NDArray[np.uint8], max_px: int) -> Image.Image:
    """The overview as a picture whose longer side has at most `max_px`."""
    picture = Image.fromarray(overview)
    scale = max_px / max(picture.size)
    if scale >= 1:
        return picture
    width, height = (max(1, round(scale * side)) for side in picture.size)
    return picture.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)


def paled(picture: Image.Image) -> Image.Image:
    """A pale grey version, on which colours of classes cannot be taken for stains.

    Returns:
        Mode RGB, of the same size; black becomes a grey of 90.
    """
    return (
        picture.convert("L")
        .point([round(90 + 165 * level / 255) for level in range(256)])
        .convert("RGB")
    )
