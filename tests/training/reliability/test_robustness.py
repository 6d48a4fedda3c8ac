from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from app.core.tile import decode_tile
from tests.training.reliability.fakes import fake_predictor
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import IndexedTile
from training.errors import DataError
from training.reliability.robustness import CHANGES, Robustness, measure_robustness, read_files

SIDE_PX = 64
TILE = draw_tile("viable_tumor", 256, 0)


def brightness(tile: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([tile.mean() / 32, 4.0, 0.0])


def darkest_pixel(tile: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.array([tile.min() / 32, 1.0, 0.0])


def left_against_right(tile: NDArray[np.float64]) -> NDArray[np.float64]:
    half = tile.shape[1] // 2
    return np.array([tile[:, :half].mean(), tile[:, half:].mean(), 0.0]) / 16


def measured(
    logits_of: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    contents: list[bytes] | None = None,
) -> dict[str, Robustness]:
    files = [encode_tile(TILE)] if contents is None else contents
    entries = measure_robustness(fake_predictor(logits_of), files, SIDE_PX)
    return {entry.change: entry for entry in entries}


@pytest.mark.parametrize("change", CHANGES)
def test_changes_produce_files_that_decode(change: str) -> None:
    tile = decode_tile(CHANGES[change](Image.fromarray(TILE)), side_px=SIDE_PX)
    assert tile.shape == (SIDE_PX, SIDE_PX, 3)
    same = decode_tile(encode_tile(TILE), side_px=SIDE_PX)
    assert (tile != same).any() == (change != "lossless copy")


def test_measure_robustness_of_a_model_of_brightness() -> None:
    found = measured(brightness)
    assert list(found) == list(CHANGES)
    for name in ("lossless copy", "turned by 90 degrees", "flipped left to right"):
        assert found[name].mean_difference == pytest.approx(0.0, abs=1e-4), name
    for name in ("JPEG quality 95", "resampled to 150 %", "resampled to 50 %"):
        assert found[name].mean_difference < 0.005, name
    for name in ("brightness -10 %", "brightness +10 %", "haematoxylin +20 %"):
        assert found[name].mean_difference > 0.02, name


def test_measure_robustness_of_a_model_of_left_and_right() -> None:
    tile = np.full((128, 128, 3), 180, np.uint8)
    tile[:, :64] = 120
    found = measured(left_against_right, [encode_tile(tile)])
    assert found["flipped left to right"].unchanged == 0.0
    assert found["flipped left to right"].mean_difference > 0.5
    assert found["turned by 180 degrees"].unchanged == 0.0
    assert found["flipped top to bottom"].mean_difference == 0.0
    assert found["brightness -10 %"].unchanged == 1.0


def test_measure_robustness_of_a_model_of_the_darkest_pixel() -> None:
    light = [encode_tile(np.full((256, 256, 3), 200, np.uint8), "JPEG")]
    of_darkest, of_brightness = measured(darkest_pixel, light), measured(brightness, light)
    speck = "dark speck of 16 px"
    assert of_darkest[speck].unchanged == 0.0
    assert of_darkest[speck].mean_difference > 0.5
    assert of_brightness[speck].unchanged == 1.0
    assert of_brightness[speck].mean_difference < 0.02
    assert of_darkest["JPEG quality 95"].mean_difference == pytest.approx(0.0, abs=1e-3)


def test_a_dark_speck_has_its_side_and_lies_in_the_middle() -> None:
    light = np.full((256, 256, 3), 200, np.uint8)
    for side_px in (8, 16):
        file = CHANGES[f"dark speck of {side_px} px"](Image.fromarray(light))
        is_dark = decode_tile(file, side_px=256).max(axis=-1) < 100
        assert np.count_nonzero(is_dark) == pytest.approx(side_px**2, rel=0.3)
        assert np.argwhere(is_dark).mean(axis=0) == pytest.approx((127.5, 127.5), abs=1)


def test_measure_robustness_counts_every_tile() -> None:
    light, dark = (np.full((64, 64, 3), level, np.uint8) for level in (136, 60))
    # Brightness -10 % moves the lighter tile below 128, where the second label is predicted.
    found = measured(brightness, [encode_tile(light), encode_tile(dark)])["brightness -10 %"]
    assert (found.n_tiles, found.unchanged) == (2, 0.5)
    assert found.mean_difference < found.max_difference


def test_measure_robustness_applies_the_exif_orientation() -> None:
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(TILE).save(stream, format="JPEG", quality=95, exif=exif)
    found = measured(left_against_right, [stream.getvalue()])
    assert found["lossless copy"].mean_difference < 0.01


def test_measure_robustness_rejects_an_empty_index() -> None:
    with pytest.raises(DataError, match="no tiles"):
        measured(brightness, [])


def indexed(file: str, content: bytes) -> IndexedTile:
    return IndexedTile(
        name="a",
        file=file,
        sha256=hashlib.sha256(content).hexdigest(),
        case="Case 1",
        slide="Case 1 A1",
        x=0,
        y=0,
        raw_label="Viable",
        label="viable_tumor",
    )


def test_read_files_reads_lazily_and_names_a_missing_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"a")
    files = read_files([indexed("a.jpg", b"a"), indexed("gone.jpg", b"b")], tmp_path)
    assert next(files) == b"a"
    with pytest.raises(DataError, match=r"gone\.jpg: No such file"):
        next(files)


def test_read_files_names_a_file_that_has_changed(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"a\.jpg has changed since it was indexed"):
        next(read_files([indexed("a.jpg", b"a")], tmp_path))
