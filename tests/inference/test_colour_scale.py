from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.appearance import find_tissue
from app.core.tile import decode_tile
from app.inference.colour_scale import colour_evidence, draw_colour_bar
from tests.inference.vision import VISIONS, lab, nearest_distance
from training.data.drawn_tiles import draw_tile

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]

RAMP = Image.fromarray(np.arange(256, dtype=np.uint8)[None])
OPACITY = 0.6


def composited(level: int, tissue: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels of tissue, `[n, 3]`, under evidence of a level in [0, 255]."""
    below = Image.fromarray(tissue[None])
    layer = colour_evidence(Image.new("L", below.size, level), OPACITY)
    return np.asarray(Image.composite(layer[0], below, layer[1])).reshape(-1, 3)


def sampled(tile: NDArray[np.uint8], n_rare: int = 30) -> Sample:
    """Pixels of tissue, `[40, 3]`, and the colours of the tile but the rarest, `[m, 3]`."""
    tissue = tile[find_tissue(tile)]
    reduced = Image.fromarray(tile).quantize(96, Image.Quantize.MEDIANCUT).convert("RGB")
    colours = [colour for count, colour in reduced.getcolors() or () if count >= n_rare]
    return tissue[np.random.default_rng(0).choice(len(tissue), 40)], np.array(colours, np.uint8)


def distance(sample: Sample, level: int, vision: str) -> float:
    """Median distance of tissue under evidence from the colours of its tile."""
    tissue, colours = sample
    return float(np.median(nearest_distance(composited(level, tissue), colours, vision)))


def test_lightness_of_the_scale_rises_evenly() -> None:
    colours, _ = colour_evidence(RAMP, OPACITY)
    lightness = lab(np.asarray(colours)[0])[:, 0]
    steps = np.diff(lightness[::51])
    assert lightness[-1] - lightness[0] > 7
    assert steps.min() > 0.5 * steps.mean()
    assert steps.max() < 1.5 * steps.mean()


def test_scale_has_hues_that_the_stain_lacks() -> None:
    colours, _ = colour_evidence(RAMP, OPACITY)
    _, a, b = lab(np.asarray(colours)[0]).T
    hue = np.degrees(np.arctan2(b, a))
    assert (hue.min() > 100, hue.max() < 180) == (True, True)  # yellow is at 90, cyan at 200


def test_opacity_rises_from_none_to_the_maximum() -> None:
    _, alpha = colour_evidence(RAMP, OPACITY)
    levels = np.asarray(alpha)[0].astype(int)
    assert (levels[0], levels[-1]) == (0, round(255 * OPACITY))
    assert (np.diff(levels) >= 0).all()


def test_lightness_rises_steadily_over_tissue_of_middle_lightness() -> None:
    mean = np.array([[203, 143, 173]], np.uint8)  # of the 41 sample tiles
    lightness = [lab(composited(level, mean))[0, 0] for level in range(0, 256, 32)]
    assert (np.diff(lightness) > 0).all()
    assert lightness[-1] - lightness[0] > 10


@pytest.mark.parametrize("vision", VISIONS)
@pytest.mark.parametrize("label", ["non_tumor", "non_viable_tumor", "viable_tumor"])
def test_evidence_is_told_from_drawn_tissue(label: str, vision: str) -> None:
    sample = sampled(draw_tile(label, 224, 0))
    assert distance(sample, 128, vision) > 10
    assert distance(sample, 255, vision) > 10


@pytest.fixture(scope="module")
def real_samples(real_tiles_dir: Path) -> list[Sample]:
    files = sorted(real_tiles_dir.rglob("*.jpg"))
    # A quarter of the pixels has the same colours.
    return [sampled(decode_tile(file.read_bytes())[::2, ::2], n_rare=30 // 4) for file in files]


@pytest.mark.real_tiles
@pytest.mark.parametrize("vision", VISIONS)
def test_evidence_is_told_from_real_tissue(real_samples: list[Sample], vision: str) -> None:
    assert real_samples
    for level, least in ((128, 10), (255, 15)):  # 2.3 is a just noticeable difference
        assert min(distance(sample, level, vision) for sample in real_samples) > least


def test_colour_bar_shows_the_scale_over_the_background() -> None:
    colour = (180, 110, 150)
    bar = np.asarray(draw_colour_bar((20, 256), OPACITY, Image.new("RGB", (1, 1), colour)))
    assert bar.shape == (256, 20, 3)
    tissue = np.array([colour], np.uint8)
    for row in (0, 64, 128, 192, 255):
        expected = composited(255 - row, tissue)[0].astype(int)
        assert np.abs(bar[row] - expected).max() <= 3
    assert np.array_equal(bar[-1, 0], colour)
