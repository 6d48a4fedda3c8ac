"""A process that opens slides for the service, which a damaged slide then cannot bring down.

It reads a line of JSON for each request, and writes a line of JSON and as many bytes as that line
says. It ends when its input does, which is also when the service dies.
"""

from __future__ import annotations

import io
import json
import os
import resource
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import OsteoError
from app.core.manifest import InputContract
from app.core.slide_errors import SlideError
from app.core.slide_limits import SlideLimits
from app.slides.grid import make_grid
from app.slides.source import SlideSource
from app.slides.tissue import overview_px, tissue_shares
from app.slides.viewing.deep_zoom import TILE_PX, ZoomTile, zoom_tile

_MAX_OPEN: Final = 8
"""Slides that are kept open: a viewer asks for many tiles of one."""
_OVERVIEW_PX: Final = 1024
_QUICK_PIXELS: Final = 16 * 10**6
"""Maximum size of the coarsest level. Above it, only the job looks for tissue: it takes seconds."""
_MIN_TISSUE_SHARE: Final = 0.1
"""The default of a job."""
_QUALITY: Final = 85
_NICENESS: Final = 5  # behind tiles that are being classified

Answer = tuple[dict[str, Any], bytes]


class Slides:
    """The slides that this process has open."""

    def __init__(self, limits: SlideLimits) -> None:
        """Open none yet."""
        self._limits = limits
        self._open: OrderedDict[str, SlideSource] = OrderedDict()
        self._overviews: dict[str, NDArray[np.uint8]] = {}

    def answer(self, request: dict[str, Any]) -> Answer:
        """Do what a request asks for.

        Raises:
            SlideError: the slide cannot be read.
            ZoomTileNotFoundError: the slide has no such tile.
        """
        key = json.dumps([request["path"], request["stamp"], request["mpp"]])
        slide = self._opened(key, request)
        if request["what"] == "inspect":
            contract = InputContract.model_validate(request["contract"])
            return self._inspect(slide, contract), b""
        if request["what"] == "thumbnail":
            return {}, _encode(self._overview(key, slide))
        return {}, _encode(self._zoom_tile(key, slide, *request["tile"]))

    def _opened(self, key: str, request: dict[str, Any]) -> SlideSource:
        from app.slides.opening import open_slide  # loads OpenSlide

        if key not in self._open:
            self._open[key] = open_slide(
                Path(request["path"]),
                request["mpp"],
                self._limits,
                allow_companions=request["allow_companions"],
            )
        self._open.move_to_end(key)
        while len(self._open) > _MAX_OPEN:
            former, source = self._open.popitem(last=False)
            self._overviews.pop(former, None)
            source.close()
        return self._open[key]

    def _inspect(self, slide: SlideSource, contract: InputContract) -> dict[str, Any]:
        facts = slide.facts
        grid = make_grid(facts, contract, self._limits)
        coarsest = facts.levels[-1]
        n_tissue = None
        if coarsest.width_px * coarsest.height_px <= _QUICK_PIXELS:
            shares = tissue_shares(slide.read_overview(overview_px(facts)), facts, grid)
            n_tissue = int((shares >= _MIN_TISSUE_SHARE).sum())
        return {
            "facts": facts.model_dump(mode="json"),
            "columns": grid.columns,
            "rows": grid.rows,
            "n_tissue": n_tissue,
        }

    def _overview(self, key: str, slide: SlideSource) -> NDArray[np.uint8]:
        if key not in self._overviews:
            self._overviews[key] = slide.read_overview(_OVERVIEW_PX)
        return self._overviews[key]

    def _zoom_tile(
        self, key: str, slide: SlideSource, level: int, column: int, row: int
    ) -> NDArray[np.uint8]:
        facts = slide.facts
        tile = zoom_tile(facts.width_px, facts.height_px, level, column, row)
        width, height = tile.size
        if tile.side_level0 >= max(facts.width_px, facts.height_px):  # the whole slide
            picture = Image.fromarray(self._overview(key, slide))
            return np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
        if tile.side_level0**2 > self._limits.max_read_pixels * _widest_step(slide) ** 2:
            return self._from_overview(key, slide, tile)
        try:
            square = slide.read_square(tile.location_level0, tile.side_level0, TILE_PX)
        except SlideError:
            return self._from_overview(key, slide, tile)
        return square[:height, :width]

    def _from_overview(self, key: str, slide: SlideSource, tile: ZoomTile) -> NDArray[np.uint8]:
        """A blurred tile in place of one that takes too many pixels or is damaged."""
        picture = Image.fromarray(self._overview(key, slide))
        scale = picture.width / slide.facts.width_px
        side = tile.side_level0 * scale / TILE_PX  # of one pixel of the tile
        left, top = (place * scale for place in tile.location_level0)
        right = min(left + side * tile.size[0], picture.width)
        lower = min(top + side * tile.size[1], picture.height)
        box = (min(left, right - 1e-3), min(top, lower - 1e-3), right, lower)
        return np.asarray(picture.resize(tile.size, Image.Resampling.BICUBIC, box))


def _widest_step(slide: SlideSource) -> float:
    """The largest downsample of the slide's levels."""
    return max((level.downsample for level in slide.facts.levels), default=1.0)


def _encode(picture: NDArray[np.uint8]) -> bytes:
    """A JPEG without any metadata."""
    out = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(out, "JPEG", quality=_QUALITY)
    return out.getvalue()


def serve(requests: BinaryIO, answers: BinaryIO, limits: SlideLimits) -> None:
    """Answer requests until there are no more."""
    slides = Slides(limits)
    for line in requests:
        try:
            document, content = slides.answer(json.loads(line))
            head = {"document": document, "n_bytes": len(content)}
        except OsteoError as error:
            content = b""
            data = {k: v for k, v in vars(error).items() if isinstance(v, (str, int, float))}
            head = {"n_bytes": 0, "code": error.code, "text": str(error), "data": data}
        except Exception as error:  # noqa: BLE001 # whatever a library raises on a damaged file
            content = b""
            head = {"n_bytes": 0, "failure": type(error).__name__}
        answers.write(json.dumps(head).encode() + b"\n" + content)
        answers.flush()


def main() -> None:
    """Serve on standard input and output, with the limits of the first line."""
    setup = json.loads(sys.stdin.buffer.readline())
    os.nice(_NICENESS)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_DATA, (setup["memory_bytes"], setup["memory_bytes"]))
    # What a library prints must not come between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers, SlideLimits(**setup["limits"]))


if __name__ == "__main__":
    main()
