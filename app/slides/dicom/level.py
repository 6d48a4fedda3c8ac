"""One level of a DICOM slide: a file whose frames have places in the level's grid."""

from __future__ import annotations

import math
from array import array
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from app.core.slide_errors import CorruptSlideError, SlideFormatError
from app.core.slide_limits import SlideLimits
from app.slides.dicom.elements import find_pixel_data
from app.slides.dicom.frames import Frames, locate_frames
from app.slides.dicom.header import ImageHeader, read_header
from app.slides.dicom.pixels import FrameDecoder

_NONE: Final = -1


class DicomLevel:
    """A `TiledLevel`; several threads may read at once.

    Attributes:
        path: of the file.
        header: of the file.
        n_bytes: size of the file.
        downsample: level-0 pixels per pixel of this level; 1 until the level's place is known.
    """

    def __init__(
        self,
        path: Path,
        file: BinaryIO,
        header: ImageHeader,
        frames: Frames,
        places: NDArray[np.int32],
    ) -> None:
        """`places` has the frame of each place, `[rows, columns]`; -1 where there is none."""
        self.path = path
        self.header = header
        self.n_bytes = file.seek(0, 2)
        self.downsample = 1.0
        self._file, self._frames, self._places = file, frames, places
        self._decode = FrameDecoder(header).decode

    @property
    def size(self) -> tuple[int, int]:
        """Width and height, in pixels."""
        return self.header.size

    @property
    def tile_size(self) -> tuple[int, int]:
        """Width and height of a frame, in pixels."""
        return self.header.tile_size

    def read_tile(self, column: int, row: int, scale: int) -> NDArray[np.uint8] | None:
        """Decode a frame.

        Args:
            column: in the grid of frames, from 0.
            row: likewise.
            scale: 1, 2, 4 or 8, which divides the sides of a frame.

        Returns:
            uint8 `[h / scale, w / scale, 3]`, RGB; None where the slide has no frame.

        Raises:
            CorruptSlideError: it is damaged.
        """
        index = int(self._places[row, column])
        return None if index == _NONE else self._decode(self._frames.read(index), scale)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_level(path: Path, limits: SlideLimits) -> DicomLevel | None:
    """Open one file of a series.

    Args:
        path: of the file.
        limits: checked before a pixel is read.

    Returns:
        The level; None if the file is no image of the slide's tissue.

    Raises:
        SlideError: one of its subclasses: the file cannot be used.
        OSError: it cannot be opened.
    """
    file = path.open("rb")
    try:
        header = read_header(file, limits)
        if header is not None:
            pixels = find_pixel_data(file, header.is_implicit, header.n_frames, header.is_sparse)
            frames = locate_frames(file.fileno(), header, pixels, limits.max_encoded_tile_bytes)
            return DicomLevel(path, file, header, frames, _places(header, pixels.positions))
    except BaseException:
        file.close()
        raise
    file.close()
    return None


def _places(header: ImageHeader, positions: array[int]) -> NDArray[np.int32]:
    """The frame of each place of the grid."""
    columns, rows = (
        math.ceil(length / side) for length, side in zip(header.size, header.tile_size, strict=True)
    )
    if not header.is_sparse or (header.n_frames == columns * rows == 1 and not positions):
        if header.n_frames != columns * rows:
            raise CorruptSlideError(
                f"it states {header.n_frames} frames, and its size needs {columns} x {rows}."
            )
        return np.arange(header.n_frames, dtype=np.int32).reshape(rows, columns)
    if len(positions) != 2 * header.n_frames:
        raise CorruptSlideError(
            f"it states the places of {len(positions) // 2} of {header.n_frames} frames."
        )
    at = np.frombuffer(positions, np.dtype("i")).reshape(-1, 2).astype(np.int64) - 1
    place, rest = np.divmod(at, header.tile_size)
    if rest.any() or (place < 0).any() or (place >= (columns, rows)).any():
        raise SlideFormatError("its frames overlap, or do not lie side by side from its corner.")
    places = np.full((rows, columns), _NONE, np.int32)
    places[place[:, 1], place[:, 0]] = np.arange(header.n_frames)
    if (places != _NONE).sum() != header.n_frames:
        raise SlideFormatError("several frames of it have the same place.")
    return places
