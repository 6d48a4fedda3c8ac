"""Decode one frame of a DICOM slide at a reduced scale, within the limits of an uploaded tile."""

from __future__ import annotations

import io
import struct
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.slide_errors import CorruptSlideError
from app.core.tile_errors import CorruptTileError
from app.slides.dicom.colours import with_stated_colours
from app.slides.dicom.header import ImageHeader
from app.slides.reading.jpeg_tile import JpegTileDecoder

_CODE_STREAM: Final = b"\xff\x4f\xff\x51"
_END: Final = b"\xff\xd9"
_SIZES: Final = struct.Struct(">HH8LH")
_COMPONENT: Final = struct.Struct("BBB")
_EIGHT_BITS: Final = (7, 1, 1)
"""Unsigned, one less than the bits; not subsampled."""
_CODING_STYLE: Final = 0xFF52
_START_OF_TILE: Final = 0xFF90
_MAX_SEGMENTS: Final = 64
_MAX_PARTS: Final = 64
"""Maximum number of tiles in a JPEG 2000 frame, each of which costs the decoder memory and time."""
_MAX_LAYERS: Final = 64
_DECODER_ERRORS: Final = (OSError, SyntaxError, ValueError, EOFError, LookupError, struct.error)


class FrameDecoder:
    """Decodes the frames of one file; several threads may decode at once."""

    def __init__(self, header: ImageHeader) -> None:
        self._header = header
        self._jpeg = JpegTileDecoder()

    def decode(self, frame: bytes, scale: int) -> NDArray[np.uint8]:
        """Decode a frame.

        Args:
            frame: its bytes.
            scale: 1, 2, 4 or 8, which divides the frame's sides.

        Returns:
            uint8 `[h / scale, w / scale, 3]`, RGB, 0 to 255.

        Raises:
            CorruptSlideError: the frame is damaged, has another size than the header states, or
                would cost more than a tile may.
        """
        header = self._header
        if header.encoding == "jpeg":
            try:
                jpeg = with_stated_colours(frame, header.photometric)
                return self._jpeg.decode(jpeg, header.tile_size, scale)
            except (CorruptTileError, *_DECODER_ERRORS) as error:
                raise CorruptSlideError("a frame cannot be decoded.") from error
        decode = _jpeg2000 if header.encoding == "jpeg2000" else _raw
        try:
            pixels = decode(frame, header, scale)
        except _DECODER_ERRORS as error:
            raise CorruptSlideError("a frame cannot be decoded.") from error
        columns, rows = header.tile_size
        if pixels.shape != (rows // scale, columns // scale, 3):
            raise CorruptSlideError("a frame has another size than the file states.")
        return pixels


def _jpeg2000(frame: bytes, header: ImageHeader, scale: int) -> NDArray[np.uint8]:
    # Half of the reduction is the wavelets', the other half a mean. Wavelets alone keep details
    # that a mean does not: they changed 1.4 % of 210 labels, this none.
    n_levels, is_transformed = _require_plain_code_stream(frame, header.tile_size)
    image = Image.open(io.BytesIO(frame), formats=("JPEG2000",))
    n_halvings = min(max(scale.bit_length() - 2, 0), n_levels)
    if n_halvings:
        image.reduce = n_halvings  # type: ignore[method-assign, assignment] # as Pillow documents
    image.load()
    if image.mode != "RGB":
        raise CorruptSlideError("a frame has other colours than the file states.")
    # Reducing replaces the method by a number, so the rest goes through an image of its own.
    pixels = np.asarray(image)
    if not is_transformed and header.photometric != "RGB":
        pixels = _rgb_of(pixels)
    return _reduced(pixels, scale >> n_halvings)


def _raw(frame: bytes, header: ImageHeader, scale: int) -> NDArray[np.uint8]:
    columns, rows = header.tile_size
    samples = np.frombuffer(frame, np.uint8)
    if header.is_planar:
        pixels = samples.reshape(3, rows, columns).transpose(1, 2, 0)
    else:
        pixels = samples.reshape(rows, columns, 3)
    if header.photometric != "RGB":
        pixels = _rgb_of(pixels)
    return _reduced(pixels, scale)


def _rgb_of(ycbcr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """DICOM's YBR_FULL is the YCbCr of JFIF."""
    shape = ycbcr.shape[1::-1]
    packed = np.ascontiguousarray(ycbcr)
    return np.asarray(Image.frombuffer("YCbCr", shape, packed, "raw", "YCbCr", 0, 1).convert("RGB"))


def _reduced(pixels: NDArray[np.uint8], scale: int) -> NDArray[np.uint8]:
    if scale == 1:
        return pixels
    return np.asarray(Image.fromarray(np.ascontiguousarray(pixels)).reduce(scale))


def _require_plain_code_stream(frame: bytes, tile_size: tuple[int, int]) -> tuple[int, bool]:
    """Check a JPEG 2000 code stream before anything is decoded (ISO/IEC 15444-1, annex A).

    Returns:
        How often it can be halved, and whether its colours are transformed back by the decoder.
    """
    if not frame.startswith(_CODE_STREAM):
        raise CorruptSlideError("a frame is no JPEG 2000 code stream.")
    if not frame.rstrip(b"\0").endswith(_END):
        # The decoder shows what it has of such a frame, without a warning.
        raise CorruptSlideError("a frame ends too early.")
    length, _, *numbers, n_components = _SIZES.unpack_from(frame, len(_CODE_STREAM))
    right, bottom, left, top, part_width, part_height, part_left, part_top = numbers
    if (right, bottom, left, top) != (*tile_size, 0, 0):
        raise CorruptSlideError("a frame has another size than the file states.")
    at = len(_CODE_STREAM) + _SIZES.size
    components = [_COMPONENT.unpack_from(frame, at + 3 * i) for i in range(min(n_components, 3))]
    if n_components != 3 or any(component != _EIGHT_BITS for component in components):
        raise CorruptSlideError("a frame has other colours than the file states.")
    n_parts = -(-right // max(part_width, 1)) * -(-bottom // max(part_height, 1))
    if (part_left, part_top) != (0, 0) or n_parts > _MAX_PARTS:
        raise CorruptSlideError(f"a frame has {n_parts} parts; at most {_MAX_PARTS} are read.")
    at = len(_CODE_STREAM) + length
    for _ in range(_MAX_SEGMENTS):
        marker, length = struct.unpack_from(">HH", frame, at)
        if marker == _START_OF_TILE:
            break
        if marker == _CODING_STYLE:
            n_layers, transform, n_levels = struct.unpack_from(">HBB", frame, at + 6)
            if n_layers > _MAX_LAYERS:
                raise CorruptSlideError(
                    f"a frame has {n_layers} layers; at most {_MAX_LAYERS} are read."
                )
            return n_levels, transform == 1
        at += 2 + length
    raise CorruptSlideError("a frame does not say how it is encoded.")
