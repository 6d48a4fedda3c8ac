from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from app.core.tile import decode_tile
from training.data.drawn_tiles import draw_tile, encode_tile
from training.errors import DataError
from training.release.prepared_tiles import write_prepared_tiles


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Two tiles that are not square or not a JPEG, one of them in a folder below."""
    folder = tmp_path / "tiles"
    (folder / "case").mkdir(parents=True)
    wide = np.concatenate([draw_tile("viable_tumor", 300, seed) for seed in (1, 2)], axis=1)
    (folder / "wide.jpg").write_bytes(encode_tile(wide, "JPEG"))
    Image.fromarray(draw_tile("non_tumor", 500, 3)).save(folder / "case" / "wide.tiff")
    return folder


@pytest.mark.parametrize("side_px", [128, 224, 299])
def test_prepared_tiles_decode_to_the_pixels_of_the_originals(
    tiles: Path, tmp_path: Path, side_px: int
) -> None:
    assert write_prepared_tiles([tiles], tmp_path / "out", side_px) == 2
    for name in ("wide.jpg", "case/wide.tiff"):
        original = decode_tile((tiles / name).read_bytes(), side_px=side_px)
        prepared = (tmp_path / "out" / f"{name}.png").read_bytes()
        np.testing.assert_array_equal(decode_tile(prepared, side_px=side_px), original)
        with Image.open(tmp_path / "out" / f"{name}.png") as picture:
            np.testing.assert_array_equal(np.asarray(picture), original)


def test_two_tiles_never_become_one(tiles: Path, tmp_path: Path) -> None:
    other = tmp_path / "wide.jpg"
    other.write_bytes((tiles / "wide.jpg").read_bytes())
    with pytest.raises(DataError, match="would both become"):
        write_prepared_tiles([tiles, other], tmp_path / "out", 224)
    assert not (tmp_path / "out").exists()


def test_prepared_tiles_are_not_searched_for_tiles(tiles: Path) -> None:
    with pytest.raises(DataError, match="must not lie in"):
        write_prepared_tiles([tiles], tiles / "out", 224)


def test_a_folder_without_tiles_and_a_missing_file_are_errors(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for source, says in (("empty", "has no tiles"), ("missing.jpg", "no file or folder")):
        with pytest.raises(DataError, match=says):
            write_prepared_tiles([tmp_path / source], tmp_path / "out", 224)


def test_a_broken_tile_is_an_error(tiles: Path, tmp_path: Path) -> None:
    (tiles / "broken.jpg").write_bytes((tiles / "wide.jpg").read_bytes()[:2000])
    with pytest.raises(DataError, match=r"broken\.jpg: "):
        write_prepared_tiles([tiles], tmp_path / "out", 224)
