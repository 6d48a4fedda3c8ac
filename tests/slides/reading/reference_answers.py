"""What the released model says of tiles: as files of their own, and as read from a slide."""

from __future__ import annotations

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.bundle import find_bundle, open_bundle
from app.core.calibration import probabilities_from_logits
from app.core.tile import decode_tile
from app.runtime.select import open_runtime
from app.slides.source import SlideSource
from tests.bundles import MODEL_NAME
from tests.conftest import RELEASED_MODELS
from tests.slides.drawn_slides import CELL_UM, NON_TUMOR, NON_VIABLE, VIABLE, DrawnSlide, Tiles
from training.data.drawn_tiles import draw_tile

SIDE_PX: Final = 224
_BATCH: Final = 16

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two answers for each of some tiles.

    Attributes:
        n_tiles: tiles compared.
        n_other_labels: tiles with another most probable label.
        mean_difference: of a probability.
    """

    n_tiles: int
    n_other_labels: int
    mean_difference: float


class ReferenceModel:
    """The newest released bundle, fp32 on LiteRT."""

    def __init__(self) -> None:
        bundle = open_bundle(find_bundle(RELEASED_MODELS, MODEL_NAME))
        self._runtime = open_runtime(bundle, "litert", 2, precision="fp32")
        self._temperature = bundle.manifest.temperature
        self._known: dict[bytes, NDArray[np.float32]] = {}

    def compare(self, source: SlideSource, slide: DrawnSlide) -> Comparison:
        """Compare the cells that lie on the slide as a whole with the same tiles as files."""
        side = CELL_UM / source.facts.mpp
        cells = [
            (column, row)
            for column, row, _ in slide.cells()
            if all(
                at + side <= length
                for at, length in zip(slide.location_level0(column, row), slide.size, strict=True)
            )
        ]
        read = [source.read_square(slide.location_level0(*cell), side, SIDE_PX) for cell in cells]
        found = self._probabilities(read)
        expected = np.stack([self._of_file(slide.tile(*cell)) for cell in cells])
        return Comparison(
            len(cells),
            int((found.argmax(axis=1) != expected.argmax(axis=1)).sum()),
            float(np.abs(found - expected).mean()),
        )

    def _of_file(self, tile: Pixels) -> NDArray[np.float32]:
        """Probabilities of a tile as a JPEG file; the tiles of a mosaic repeat."""
        key = hashlib.sha256(tile.tobytes()).digest()
        if key not in self._known:
            decoded = decode_tile(_as_file(tile), side_px=SIDE_PX)
            (self._known[key],) = self._probabilities([decoded])
        return self._known[key]

    def _probabilities(self, tiles: Sequence[Pixels]) -> NDArray[np.float32]:
        batches = (np.stack(tiles[i : i + _BATCH]) for i in range(0, len(tiles), _BATCH))
        logits = np.concatenate([self._runtime.infer(batch).logits for batch in batches])
        return probabilities_from_logits(logits, self._temperature)

    def close(self) -> None:
        self._runtime.close()


@functools.cache
def varied_tiles() -> Tiles:
    """Four drawn tiles of each label."""
    return {
        f"{label}-{seed}": np.asarray(
            Image.fromarray(draw_tile(label, CELL_UM // 2, seed)).resize(
                (CELL_UM, CELL_UM), Image.Resampling.BICUBIC
            )
        )
        for label in (NON_TUMOR, NON_VIABLE, VIABLE)
        for seed in range(4)
    }


def real_tiles(folder: Path, max_tiles: int | None = None) -> Tiles:
    """The tiles below a folder, by name: all, or at most so many, spread over the folder."""
    files = sorted(folder.rglob("*.jpg"))
    if max_tiles is not None:
        files = files[:: -(-len(files) // max_tiles)]
    return {file.stem: np.asarray(Image.open(file).convert("RGB")) for file in files}


def mosaic_of(tiles: Tiles, columns: int, rows: int) -> tuple[tuple[str, ...], ...]:
    """Each tile about equally often, without glass."""
    names = [list(tiles)[i % len(tiles)] for i in range(columns * rows)]
    order = np.random.default_rng(0).permutation(len(names))
    cells = [names[i] for i in order]
    return tuple(tuple(cells[row * columns : (row + 1) * columns]) for row in range(rows))


def _as_file(tile: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(tile).save(stream, "JPEG", quality=95)
    return stream.getvalue()
