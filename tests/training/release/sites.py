"""A site's tiles, and the command that recalibrates on them."""

from __future__ import annotations

from pathlib import Path

from typer.testing import CliRunner, Result

from app.core.manifest import sha256_of_file
from training.cli import app
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, IndexedTile
from training.data.labels import LABEL_IDS
from training.storage.frozen_model import write_json

N_TILES = 21


def write_site(
    folder: Path, n_tiles: int = N_TILES, channels: tuple[int, int, int] = (0, 1, 2)
) -> Path:
    """Draw a site's tiles with the colour channels in this order, and write their index."""
    folder.mkdir(parents=True)
    tiles = []
    for seed in range(n_tiles):
        label, file = LABEL_IDS[seed % 3], folder / f"{seed}.png"
        file.write_bytes(encode_tile(draw_tile(label, 128, seed)[..., channels]))
        where = {"case": "Case 1", "slide": f"Case 1 A{seed}", "x": seed, "y": 0}
        described = {"name": file.stem, "file": file.name, "sha256": sha256_of_file(file)}
        tiles.append(IndexedTile(**described, **where, raw_label=label, label=label))
    index = Index(mixed_tiles="viable", table="t.csv", table_sha256="1" * 64, tiles=tuple(tiles))
    write_json(folder / "index.json", index)
    return folder


def calibrate(bundle_dir: Path, site: Path, *options: str) -> Result:
    arguments = [str(bundle_dir), "--data-dir", str(site), "--index", str(site / "index.json")]
    return CliRunner().invoke(app, ["calibrate", *arguments, *options])
