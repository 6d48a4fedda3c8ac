"""Write drawn slides as files: generic tiled TIFF, like Aperio's, OME-TIFF."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import tifffile
from PIL import Image, ImageDraw

from tests.slides.jpeg_parts import encode_in_parts, whole_jpeg
from tests.slides.mosaic import FALSE_IDS, DrawnSlide, Pixels

_MIN_LEVEL_PX: Final = 200


def write_slide(slide: DrawnSlide) -> None:
    """Write the levels, and in Aperio's layout the pictures beside them."""
    drawing, (width, height) = slide.drawing, slide.size
    factor = 4 if drawing.kind == "svs" else 2
    steps = [1]
    while drawing.has_pyramid and max(width, height) // (steps[-1] * factor) >= _MIN_LEVEL_PX:
        steps.append(steps[-1] * factor)
    with tifffile.TiffWriter(slide.path, bigtiff=drawing.kind != "tiff") as out:
        level = _Level(slide, 1, None)
        for step in steps:
            level = level if step == 1 else _Level(slide, step, level.below)
            out.write(level.tiles(factor), **_tags(slide, step, len(steps) - 1))
            if drawing.kind == "svs" and step == 1:
                _write_picture(out, _thumbnail(slide), f"{width}x{height} -> thumbnail", 0)
        if drawing.kind == "svs":
            _write_picture(out, _label_image(), "label 387x463", 1)
            _write_picture(out, _label_image(), "macro 387x463", 9)


def without_lower_levels(path: Path, copy: Path) -> None:
    """Copy a generic TIFF (not BigTIFF), so that its first directory is the last."""
    content = bytearray(path.read_bytes())
    (at,) = struct.unpack_from("<I", content, 4)
    (n_tags,) = struct.unpack_from("<H", content, at)
    struct.pack_into("<I", content, at + 2 + 12 * n_tags, 0)
    copy.write_bytes(content)


class _Level:
    """One level, which draws the next one while its own tiles are written."""

    def __init__(self, slide: DrawnSlide, step: int, pixels: Pixels | None) -> None:
        self._slide, self._drawing, self._pixels = slide, slide.drawing, pixels
        self._width, self._height = (side // step for side in slide.size)
        self.below = np.empty((0, 0, 3), np.uint8)

    def tiles(self, factor: int) -> Iterator[Any]:
        """The tiles: bytes if they are JPEG, else pixels, which tifffile encodes."""
        side = self._drawing.tile_px
        shape = -(-self._height // side) * side // factor, -(-self._width // side) * side // factor
        self.below = np.empty((*shape, 3), np.uint8)
        for y in range(0, self._height, side):
            for x in range(0, self._width, side):
                block = self._block(x, y, side)
                reduced = np.asarray(Image.fromarray(block).reduce(factor))
                left, top, n = x // factor, y // factor, side // factor
                self.below[top : top + n, left : left + n] = reduced
                yield self._encoded(block) if self._drawing.compression == "jpeg" else block

    def _block(self, x: int, y: int, side: int) -> Pixels:
        if self._pixels is None:
            return self._slide.region(x, y, side, side)
        part = self._pixels[y : y + side, x : x + side]
        padding = ((0, side - part.shape[0]), (0, side - part.shape[1]), (0, 0))
        return np.pad(part, padding, mode="edge")

    def _encoded(self, block: Pixels) -> bytes:
        parts = encode_in_parts(block, self._drawing.quality, self._drawing.colours)
        return parts.abbreviated if self._drawing.tables_apart else whole_jpeg(parts)


def _tags(slide: DrawnSlide, step: int, n_lower: int) -> dict[str, Any]:
    """The arguments of `TiffWriter.write` for a level, but for its pixels."""
    drawing = slide.drawing
    width, height = (side // step for side in slide.size)
    tags: dict[str, Any] = {
        "shape": (height, width, 3),
        "dtype": np.uint8,
        "tile": (drawing.tile_px,) * 2,
        "metadata": None,
        "compression": drawing.compression,
        "photometric": drawing.colours if drawing.compression == "jpeg" else "rgb",
    }
    if drawing.compression == "jpeg" and drawing.colours == "ycbcr":
        tags |= {"subsampling": (2, 2)}
    elif drawing.compression == "jpeg":
        tags |= {"compressionargs": {"outcolorspace": "rgb"}}
    if drawing.compression == "jpeg" and drawing.tables_apart:
        one = np.zeros((16, 16, 3), np.uint8)
        tags |= {"jpegtables": encode_in_parts(one, drawing.quality, drawing.colours).tables}
    if drawing.kind == "svs":
        return tags | {"description": _aperio_description(slide, step)}
    if step > 1:
        tags |= {"subfiletype": 1}
    if drawing.kind == "ome":
        return tags | (
            {"description": _ome_description(slide), "subifds": n_lower} if step == 1 else {}
        )
    if drawing.states_mpp:
        tags |= {"resolution": (1e4 / drawing.mpp / step,) * 2, "resolutionunit": "CENTIMETER"}
    return tags


def _thumbnail(slide: DrawnSlide) -> Pixels:
    return np.asarray(Image.fromarray(slide.region(0, 0, 512, 512)).reduce(2))


def _label_image() -> Pixels:
    image = Image.new("RGB", (387, 463), "white")
    ImageDraw.Draw(image).text((20, 40), "\n".join(FALSE_IDS), fill="black", font_size=48)
    return np.asarray(image)


def _write_picture(out: tifffile.TiffWriter, pixels: Pixels, about: str, subfiletype: int) -> None:
    """A picture in strips, as Aperio's files hold beside the levels."""
    out.write(
        pixels,
        compression="lzw",
        photometric="rgb",
        rowsperstrip=16,
        subfiletype=subfiletype,
        metadata=None,
        description=f"Aperio Image Library v12.0.15 \r\n{about}",
    )


def _aperio_description(slide: DrawnSlide, step: int) -> str:
    drawing, (width, height) = slide.drawing, slide.size
    side = drawing.tile_px
    first = (
        f"Aperio Image Library v12.0.15 \r\n{width}x{height} [0,0 {width}x{height}] ({side}x{side})"
    )
    if step > 1:
        first += f" -> {width // step}x{height // step}"
    fields = [f"{first} JPEG/RGB Q={drawing.quality}", f"AppMag = {round(10 / drawing.mpp)}"]
    fields += [f"Filename = {FALSE_IDS[2]}", f"User = {FALSE_IDS[0]}", f"Barcode = {FALSE_IDS[1]}"]
    fields += [f"MPP = {drawing.mpp:.4f}"] if drawing.states_mpp else []
    return "|".join(fields)


def _ome_description(slide: DrawnSlide) -> str:
    width, height = slide.size
    mpp = slide.drawing.mpp
    scale = "".join(f' PhysicalSize{axis}="{mpp}" PhysicalSize{axis}Unit="um"' for axis in "XY")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Experimenter ID="Experimenter:0" LastName="{FALSE_IDS[0]}"/>'
        f'<Image ID="Image:0" Name="{FALSE_IDS[2]}"><Pixels ID="Pixels:0" '
        f'DimensionOrder="XYCZT" Type="uint8" SizeX="{width}" SizeY="{height}" SizeC="3" '
        f'SizeZ="1" SizeT="1"{scale if slide.drawing.states_mpp else ""}>'
        '<Channel ID="Channel:0:0" SamplesPerPixel="3"/><TiffData IFD="0" PlaneCount="1"/>'
        "</Pixels></Image></OME>"
    )
