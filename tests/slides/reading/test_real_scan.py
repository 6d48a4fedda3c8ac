"""A region of a real Aperio scan: OpenSlide's test data, 0.499 um per pixel, one level, CC0."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import pytest
from PIL import Image

from app.slides.opening import open_slide
from app.slides.reading.openslide_library import load_openslide
from app.slides.source import SlideSource
from tests.conftest import REPOSITORY

SCAN: Final = REPOSITORY.parent / "shared" / "slides" / "CMU-1-Small-Region.svs"
IN_ITS_COMMENTS: Final = ("CPAPERIOCS", "CMU-1", "b414003d-95c6-48b0-9369-8010ed517ba7", "1004486")

pytestmark = pytest.mark.skipif(not SCAN.is_file(), reason=f"no real scan: looked for {SCAN}")


@pytest.fixture(scope="module")
def source() -> Iterator[SlideSource]:
    source = open_slide(SCAN)
    yield source
    source.close()


def test_facts_are_those_of_the_scan(source: SlideSource) -> None:
    facts = source.facts
    assert (facts.format, facts.reads) == ("aperio", "jpeg")
    assert (facts.width_px, facts.height_px, facts.n_bytes) == (2220, 2967, 1_938_955)
    assert (facts.mpp, facts.mpp_source, facts.objective_power) == (0.499, "file", 20.0)


def test_facts_hold_nothing_of_the_comments(source: SlideSource) -> None:
    content = SCAN.read_bytes()
    assert all(name.encode() in content for name in IN_ITS_COMMENTS)
    assert not [name for name in IN_ITS_COMMENTS if name in repr(source.facts)]


@pytest.mark.parametrize("location", [(0, 0), (100, 57), (168, 915)])
def test_square_is_what_openslide_shows(location: tuple[int, int], source: SlideSource) -> None:
    """The colours too: its tiles are RGB without a marker that says so."""
    side = 1024 / 0.499
    slide = load_openslide().OpenSlide(SCAN)
    region = slide.read_region(location, 0, (round(side), round(side))).convert("RGB")
    slide.close()
    expected = np.asarray(region.resize((224, 224), Image.Resampling.BOX), np.int16)
    difference = source.read_square(location, side, 224) - expected
    assert np.abs(difference).mean() < 5
    assert np.abs(difference.mean(axis=(0, 1))).max() < 1


def test_overview_is_the_scan_reduced(source: SlideSource) -> None:
    slide = load_openslide().OpenSlide(SCAN)
    whole = slide.read_region((0, 0), 0, slide.dimensions).convert("RGB")
    slide.close()
    overview = source.read_overview(300)
    assert overview.shape == (300, 224, 3)
    expected = np.asarray(whole.resize((224, 300), Image.Resampling.BOX), np.int16)
    assert np.abs(overview - expected).mean() < 5
