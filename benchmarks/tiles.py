"""Which tiles are sent: a folder of real ones, or drawn ones where there is no folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.cli.files import find_tiles
from benchmarks.environments import WORK_DIR

MAX_TILES: Final = 60
"""Enough that no cache holds them all, few enough that `wrk` keeps the requests in memory."""

_DRAWN_SIDE_PX: Final = 1024
_DRAWN_PER_LABEL: Final = 8
_LABEL_IDS: Final = ("non_tumor", "non_viable_tumor", "viable_tumor")


def collect_tiles(folder: Path | None) -> tuple[str, list[Path]]:
    """Choose the tiles of a run.

    Args:
        folder: where to look; else `OSTEO_DATA_DIR`; else tiles are drawn into `.bench/tiles`.

    Returns:
        What they are, and at most `MAX_TILES` files.

    Raises:
        FileNotFoundError: the folder does not exist or holds no tiles.
    """
    named = folder or (Path(data) if (data := os.environ.get("OSTEO_DATA_DIR")) else None)
    if named is None:
        return f"drawn, {_DRAWN_SIDE_PX} px JPEG", _drawn_tiles()
    if not named.exists():
        raise FileNotFoundError(f"there is no folder {named}")
    found = find_tiles([named])
    if not found:
        raise FileNotFoundError(f"no tiles in {named}")
    return "real tiles", found[:: max(1, len(found) // MAX_TILES)][:MAX_TILES]


def link_folder(tiles: Sequence[Path], n_tiles: int) -> Path:
    """A folder of `n_tiles` links to the tiles in turn, for `osteo classify`."""
    folder = WORK_DIR / f"folder-{n_tiles}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for i in range(n_tiles):
        tile = tiles[i % len(tiles)].resolve()
        (folder / f"{i:06}{tile.suffix}").symlink_to(tile)
    return folder


def _drawn_tiles() -> list[Path]:
    # Here and not above: real tiles need no drawing.
    from training.data.drawn_tiles import draw_tile, encode_tile

    folder = WORK_DIR / "tiles"
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for seed in range(_DRAWN_PER_LABEL):
        for label_id in _LABEL_IDS:
            file = folder / f"{label_id}-{seed}.jpg"
            if not file.exists():
                file.write_bytes(encode_tile(draw_tile(label_id, _DRAWN_SIDE_PX, seed), "JPEG"))
            files.append(file)
    return files
