from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.manifest import Label
from app.inference.picture_margin import add_margin, caption_of
from tests.answers import answer
from tests.bundles import LABELS

CAPTION = "Non-Viable Tumor: probability 0.93\nosteo-mobilenetv2, version 4\nresearch use only"
BLUE = (0, 0, 255)


def blue_bar(size: tuple[int, int]) -> Image.Image:
    return Image.new("RGB", size, BLUE)


def framed(width: int, height: int, caption: str = CAPTION) -> NDArray[np.uint8]:
    return np.asarray(add_margin(Image.new("RGB", (width, height), "red"), blue_bar, caption))


ANSWER = answer(0.05, 0.93, 0.02)


def test_caption_has_label_probability_model_and_purpose() -> None:
    assert caption_of(ANSWER, "non_viable_tumor", LABELS) == CAPTION


def test_caption_of_another_label_says_what_was_predicted() -> None:
    first, *_ = caption_of(ANSWER, "viable_tumor", LABELS).split("\n")
    assert first == "Viable Tumor: probability 0.02 (predicted: Non-Viable Tumor)"


@pytest.mark.parametrize("name", ["", " ", "Nécrose", "壊死", "two\nlines", "tab\t"])
def test_caption_has_the_id_of_a_label_whose_name_cannot_be_drawn(name: str) -> None:
    label = Label(id="necrosis", name=name, is_tumor=True)
    alone = {"prediction": "necrosis", "probabilities": {"necrosis": 1.0}}
    assert caption_of(ANSWER.model_copy(update=alone), "necrosis", [label]).startswith("necrosis: ")


@pytest.mark.parametrize("size_px", [64, 96, 224, 512, 1024, 2048])
@pytest.mark.parametrize("n_pictures", [1, 2])
def test_picture_bar_and_caption_do_not_overlap(size_px: int, n_pictures: int) -> None:
    width = n_pictures * size_px
    picture = framed(width, size_px)
    assert (picture[:size_px, :width] == (255, 0, 0)).all()
    margin = picture.copy()
    margin[:size_px, :width] = 255
    rows, columns = np.nonzero(np.all(margin == BLUE, axis=2))
    assert (rows.max(), columns.min() > width) == (size_px - 1, True)
    assert rows.max() - rows.min() + 1 > size_px / 3
    below = margin[size_px + 2 :]  # beneath the outline of the bar
    assert (below < 128).any()
    assert not np.all(below == BLUE, axis=2).any()
    # All text lies within the picture.
    edges = (picture[-2:], margin[:, -2:], margin[size_px + 2 :, :2])
    assert all((edge == 255).all() for edge in edges)


@pytest.mark.parametrize("size_px", [224, 512, 1024, 2048])
def test_text_grows_with_the_picture(size_px: int) -> None:
    dark = np.all(framed(size_px, size_px)[size_px + 2 :] < 128, axis=2)
    rows = np.flatnonzero(dark.any(axis=1))
    lines = np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1)
    assert len(lines) == 3
    assert max(len(line) for line in lines) >= max(8, size_px / 60)


def test_long_caption_is_wrapped_within_the_picture() -> None:
    long_name = " ".join(["Osteosarcoma"] * 16)
    short, long = framed(224, 224), framed(224, 224, f"{long_name}\n{CAPTION}")
    assert long.shape[1] == short.shape[1]
    assert long.shape[0] > short.shape[0] + 3 * 12


def test_picture_is_as_wide_as_the_longest_word() -> None:
    picture = framed(64, 64, "x" * 64)
    assert picture.shape[1] > 200
    assert (picture[:, -2:] == 255).all()
