"""Handles of OpenSlide: one for each thread, opened again after an error."""

from __future__ import annotations

import threading
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.slide_errors import CorruptSlideError, SlideFormatError

_CACHE_BYTES: Final = 8 * 1024**2
"""Size of each thread's cache of decoded tiles, a fourth of OpenSlide's default."""
_WHITE: Final = (255, 255, 255, 255)
_PROPERTIES: Final = ("vendor", "mpp-x", "mpp-y", "objective-power")
"""The others are not kept: comments and barcodes hold names."""


class OpenSlideHandles:
    """Reads regions of a slide; several threads may read at once.

    Attributes:
        properties: a few of those that OpenSlide states, without their prefix `openslide.`.
        level_sizes: width and height of each level, finest first.
        downsamples: level-0 pixels per pixel of each level.
    """

    def __init__(self, openslide: ModuleType, path: Path) -> None:
        """Open the first handle.

        Args:
            openslide: the module.
            path: the slide.

        Raises:
            SlideFormatError: OpenSlide does not know the format.
            CorruptSlideError: OpenSlide cannot open the file.
        """
        self._openslide, self._path = openslide, path
        self._lock, self._own = threading.Lock(), threading.local()
        self._opened: list[Any] = []
        first = self.handle()
        self.properties = {key: first.properties.get(f"openslide.{key}") for key in _PROPERTIES}
        self.level_sizes: tuple[tuple[int, int], ...] = first.level_dimensions
        self.downsamples: tuple[float, ...] = first.level_downsamples

    def handle(self) -> Any:
        """The handle of this thread."""
        handle = getattr(self._own, "handle", None)
        if handle is None:
            handle = self._open()
            self._own.handle = handle
            with self._lock:
                self._opened.append(handle)
        return handle

    def read(
        self, location_level0: tuple[int, int], level: int, size: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Read a region of a level.

        Args:
            location_level0: x and y of the upper left corner, in pixels of level 0.
            level: 0 is the finest.
            size: width and height in pixels of the level.

        Returns:
            uint8 `[height, width, 3]`, RGB; white outside of the slide and where it has no tile.

        Raises:
            CorruptSlideError: a part of the region cannot be decoded.
        """
        try:
            region = self.handle().read_region(location_level0, level, size)
        except self._openslide.OpenSlideError:
            self._forget()
            # OpenSlide's message may quote the file's own words.
            raise CorruptSlideError("OpenSlide cannot decode a part of it.") from None
        if region.getextrema()[3][0] < _WHITE[3]:
            region = Image.alpha_composite(Image.new("RGBA", size, _WHITE), region)
        return np.asarray(region.convert("RGB"))

    def close(self) -> None:
        """Close the handles of all threads."""
        with self._lock:
            for handle in self._opened:
                handle.close()
            self._opened.clear()

    def _open(self) -> Any:
        try:
            handle = self._openslide.OpenSlide(self._path)
        except self._openslide.OpenSlideUnsupportedFormatError:
            raise SlideFormatError("OpenSlide does not know its format.") from None
        except self._openslide.OpenSlideError:
            raise CorruptSlideError("OpenSlide cannot open it.") from None
        handle.set_cache(self._openslide.OpenSlideCache(_CACHE_BYTES))
        return handle

    def _forget(self) -> None:
        """Close the handle of this thread, which answers nothing more after an error."""
        handle = self._own.handle
        self._own.handle = None
        with self._lock:
            self._opened.remove(handle)
        handle.close()
