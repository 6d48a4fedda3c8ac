"""Draw tiles of labels that the collection does not have, in each layout."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from training.data.drawn_tiles import draw_tile, encode_tile

SIDE_PX = 96
LABELS_TOML = """
[labels]
stroma = {name = "Stroma", tumor = false, colour = "#1f77b4", aliases = ["Bindegewebe"]}
sarcoma = {name = "Viable sarcoma", tumor = true, colour = "#d62728"}
fat = {name = "Fat", tumor = false, aliases = ["Fettgewebe"]}
cartilage = {tumor = false}
"""
NAMES = ("Bindegewebe", "viable SARCOMA", "fat", "Cartilage")
"""What a table may call the labels: by alias, name or id, in any case."""
DRAWINGS = ("non_tumor", "viable_tumor", "fat", "cartilage")
LABEL_IDS = ("stroma", "sarcoma", "fat", "cartilage")

CONFIG = f"""
model_name = "four"

[data]
tile_side_px = {SIDE_PX}
source = {{name = "Drawn tiles", tissue = "drawn tissue", objective_power = 20.0}}

[splits]
random_folds = 2
slide_folds = 2

[augment]
n_views = 1

[network]
system = "ahmed-cnn"
backbone.side_px = 64
weights = "none"
hidden_units = 4

[head]
epochs = 1
learning_rate = 1e-3
{LABELS_TOML}"""


@functools.cache
def draw(label: int, seed: int, side_px: int = SIDE_PX) -> bytes:
    """A PNG of the label at this position."""
    return encode_tile(draw_tile(DRAWINGS[label], side_px, seed))


def write_table(folder: Path, header: Sequence[str] = ("file", "label", "slide", "case")) -> Path:
    """Sixteen tiles of four labels, four slides and two cases, and `tiles.csv`."""
    (folder / "png").mkdir(parents=True)
    rows = [",".join(header)]
    for i in range(16):
        label, slide = i % 4, i // 4
        (folder / "png" / f"{i}.png").write_bytes(draw(label, i))
        values = {
            "file": f"png/{i}.png",
            "label": NAMES[label],
            "slide": f"S{slide}",
            "case": f"K{slide % 2}",
            "x": str(50 * label),
            "y": "0",
        }
        rows.append(",".join(values[name] for name in header))
    (folder / "tiles.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def write_folders(folder: Path, group: str = "") -> Path:
    """Sixteen tiles in folders named after labels; `group` is `SLIDE`, `CASE/SLIDE` or nothing."""
    for i in range(16):
        label, slide = i % 4, i // 4
        place = group.replace("SLIDE", f"S{slide}").replace("CASE", f"K{slide % 2}")
        path = folder / NAMES[label] / place / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(draw(label, i))
    return folder
