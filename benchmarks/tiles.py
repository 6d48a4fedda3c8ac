"""Tiles for the benchmarks: real ones from a folder, else drawn ones."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from app.cli.search import find_tiles
from benchmarks.environments import WORK_DIR

TILES_HELP: Final = "folder of tiles (OSTEO_DATA_DIR, else drawn tiles)"
MAX_TILES: Final = 60
"""Too many for the caches, and few enough for `wrk` to hold all requests in memory."""

_DRAWN_SIDE_PX: Final = 1024
_DRAWN_PER_LABEL: Final = 8
_LABEL_IDS: Final = ("non_tumor", "non_viable_tumor", "viable_tumor")


def collect_tiles(folder: Path | None) -> tuple[str, list[Path]]:
    """Choose the tiles of a run.

    Args:
        folder: folder of tiles; None uses `OSTEO_DATA_DIR`, or draws tiles into `.bench/tiles`.

    Returns:
        A description of the tiles, and at most `MAX_TILES` files.

    Raises:
        FileNotFoundError: the folder does not exist or contains no tiles.
    """
    named = folder or (Path(data) if (data := os.environ.get("OSTEO_DATA_DIR")) else None)
    if named is None:
        return f"drawn, {_DRAWN_SIDE_PX} px JPEG", _drawn_tiles()
    if not named.exists():
        raise FileNotFoundError(f"no such folder: {named}")
    found = [file.path for file in find_tiles([named]).found if file.error is None]
    if not found:
        raise FileNotFoundError(f"no tiles in {named}")
    return "real tiles", found[:: max(1, len(found) // MAX_TILES)][:MAX_TILES]


def link_folder(files: Sequence[Path], n_tiles: int) -> Path:
    """Create a folder of `n_tiles` links to the files, repeating them as needed."""
    folder = WORK_DIR / f"folder-{n_tiles}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        old.unlink()
    for i in range(n_tiles):
        file = files[i % len(files)].resolve()
        (folder / f"{i:06}{file.suffix}").symlink_to(file)
    return folder


def _drawn_tiles() -> list[Path]:
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
