"""Out-of-distribution (OOD) samples: images that are not H&E tiles, to test the input gate with.

They are drawn here or cut from the photographs that scikit-learn and Matplotlib include, so that a
release needs no network. `osteo-train gate` tests the gate on a folder of images.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.augmentation.stain_separation import OTHER_STAINS, restain
from training.console.progress import tracked

N_PER_KIND: Final = 40
_FINE_PX: Final = 672
"""Side of drawings and documents: three times a tile's, so that lines are smooth when shrunk."""
_WORDS: Final = (
    *("tissue", "margin", "report", "block", "section", "stain", "specimen", "necrosis"),
    *("viable", "tumour", "femur", "resection", "case", "slide", "pathology", "osteoid"),
)


def draw_ood_samples(side_px: int, seed: int = 0) -> dict[str, NDArray[np.uint8]]:
    """Draw `N_PER_KIND` images of every kind: uint8 `[n, side_px, side_px, 3]` RGB by kind."""
    kinds: dict[str, Callable[[np.random.Generator, int], NDArray[np.uint8]]] = {
        "photographs": _photograph_cutter(),
        "drawings": _drawing,
        "documents": _document,
        "noise": _noise,
        "plain colours": _plain,
    }
    samples = {}
    numbered = list(enumerate(kinds.items()))
    for number, (kind, draw) in tracked("Drawing other images")(numbered):
        rng = np.random.default_rng([seed, number])
        samples[kind] = np.stack([draw(rng, side_px) for _ in range(N_PER_KIND)])
    return samples


def in_other_stains(tiles: NDArray[np.uint8]) -> dict[str, NDArray[np.uint8]]:
    """Recolour tiles, uint8 `[n, side, side, 3]` RGB, to imitate other stains; by stain."""
    stains = tracked("Imitating other stains")(list(OTHER_STAINS))
    restained = {name: np.stack([restain(tile, name) for tile in tiles]) for name in stains}
    grey = np.repeat(tiles.mean(axis=-1, keepdims=True).astype(np.uint8), 3, axis=-1)
    return restained | {
        "grey": grey,
        "inverted": 255 - tiles,
        "red and blue exchanged": tiles[..., ::-1],
        "red and green exchanged": tiles[..., [1, 0, 2]],
    }


def _photograph_cutter() -> Callable[[np.random.Generator, int], NDArray[np.uint8]]:
    from matplotlib import get_data_path
    from sklearn.datasets import load_sample_images

    portrait = Path(get_data_path()) / "sample_data" / "grace_hopper.jpg"
    images = [Image.fromarray(photo) for photo in load_sample_images().images]
    images.append(Image.open(io.BytesIO(portrait.read_bytes())).convert("RGB"))

    def cut(rng: np.random.Generator, side_px: int) -> NDArray[np.uint8]:
        image = images[rng.integers(len(images))]
        crop_px = int(rng.uniform(0.4, 1.0) * min(image.size))
        left, top = (int(rng.integers(length - crop_px + 1)) for length in image.size)
        square = image.crop((left, top, left + crop_px, top + crop_px))
        return _shrink(square, side_px)

    return cut


def _drawing(rng: np.random.Generator, side_px: int) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (_FINE_PX, _FINE_PX), _colour(rng, 180))
    pen = ImageDraw.Draw(canvas)
    for _ in range(int(rng.integers(4, 30))):
        points = [tuple(point) for point in rng.uniform(0, _FINE_PX, (rng.integers(2, 6), 2))]
        colour, width = _colour(rng), int(rng.integers(2, 14))
        shape = rng.integers(3)
        if shape == 0 or len(points) < 3:
            pen.line(points, fill=colour, width=width)
        elif shape == 1:
            pen.polygon(points, fill=colour, outline=_colour(rng), width=width)
        else:
            x, y = points[0]
            radius = rng.uniform(10, _FINE_PX / 3)
            pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return _shrink(canvas, side_px)


def _document(rng: np.random.Generator, side_px: int) -> NDArray[np.uint8]:
    canvas = Image.new("RGB", (_FINE_PX, _FINE_PX), _colour(rng, 225))
    pen = ImageDraw.Draw(canvas)
    font_px = float(rng.integers(12, 40))
    font = ImageFont.load_default(font_px)
    ink, line_px = _colour(rng, 0, 90), font_px * rng.uniform(1.2, 1.8)
    for y in np.arange(20, _FINE_PX - 20, line_px):
        pen.text((24, float(y)), " ".join(rng.choice(_WORDS, 12)), fill=ink, font=font)
    tilted = canvas.rotate(rng.uniform(-6, 6), fillcolor=(250, 250, 250))
    return _shrink(tilted, side_px)


def _noise(rng: np.random.Generator, side_px: int) -> NDArray[np.uint8]:
    cells = int(rng.choice([7, 14, 28, 56, 112, side_px]))
    channels = int(rng.choice([1, 3]))
    values = rng.integers(0, 256, (cells, cells, channels)).astype(np.uint8)
    return _shrink(Image.fromarray(np.repeat(values, 3 // channels, axis=-1)), side_px)


def _plain(rng: np.random.Generator, side_px: int) -> NDArray[np.uint8]:
    spread = float(rng.choice([0.0, 2.0, 5.0]))  # sensor noise
    levels = rng.normal(_colour(rng), spread, (side_px, side_px, 3))
    return np.clip(levels, 0, 255).astype(np.uint8)


def _colour(rng: np.random.Generator, low: int = 0, high: int = 256) -> tuple[int, int, int]:
    red, green, blue = (int(level) for level in rng.integers(low, high, 3))
    return red, green, blue


def _shrink(image: Image.Image, side_px: int) -> NDArray[np.uint8]:
    return np.asarray(image.resize((side_px, side_px), Image.Resampling.BICUBIC))
