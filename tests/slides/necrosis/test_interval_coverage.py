"""The intervals hold the truth on 20 drawn slides as often as they say, but for chance.

An interval that covers 95 % misses 4 or more of 20 slides once in 60 settings, so 17 are asked for.
"""

from __future__ import annotations

from typing import Any

import pytest

from app.slides.necrosis import block_bootstrap
from tests.slides.necrosis.interval_coverage import (
    CONFUSIONS,
    bootstrap_coverage,
    confusion_coverage,
    specimen_coverage,
)

N_SLIDES = 20
MOST = 17 / N_SLIDES


def exhaustive(*values: object) -> list[Any]:
    return [pytest.param(value, marks=pytest.mark.exhaustive) for value in values]


@pytest.mark.parametrize("ratio", [*(0.8, 0.9), *exhaustive(0.5, 0.97)])
def test_block_bootstrap_covers_the_tissue_that_slides_were_cut_from(ratio: float) -> None:
    assert bootstrap_coverage(N_SLIDES, ratio).share >= MOST


def test_single_tiles_would_not_cover_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(block_bootstrap, "BLOCK_SIDE", 1)
    assert bootstrap_coverage(N_SLIDES // 2, 0.8).share < 0.7


@pytest.mark.parametrize("shape", [(8, 10), *exhaustive((14, 16))], ids=["biopsy", "small slide"])
def test_block_bootstrap_covers_it_on_small_slides(shape: tuple[int, int]) -> None:
    assert bootstrap_coverage(N_SLIDES, 0.8, shape=shape).share >= MOST


def test_block_bootstrap_covers_it_over_the_slides_of_a_specimen() -> None:
    assert specimen_coverage(N_SLIDES, 0.8).share >= MOST


@pytest.mark.parametrize("ratio", [*(0.8, 1.0), *exhaustive(0.2)])
@pytest.mark.parametrize("name", CONFUSIONS)
def test_inverted_confusion_covers_the_truth_of_the_tiles(name: str, ratio: float) -> None:
    assert confusion_coverage(N_SLIDES, ratio, CONFUSIONS[name]).share >= MOST
