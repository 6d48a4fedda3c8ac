"""Draw a small nested choice: three cases with tiles, thumbnails and table rows of each."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Final

from tests.training.conftest import RAW_BY_LABEL, drawn_tile, write_collection
from tests.training.table.drawing import Rows, write_table
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import encode_tile
from training.data.index import build_index
from training.data.tile_names import file_stem_of
from training.experiments.nested.config import read_nested
from training.experiments.nested.run import NestedTask
from training.features.supplements import read_supplements
from training.storage.frozen_model import write_json

SIDE_PX: Final = 128
CASES: Final = ("Case 3", "Case 4", "Case 48 - P5")
CHANGES: Final = ("tiles", "thumbnails", "rows", "labels")
"""What of a case can be changed: its pixels, its table rows' measures, or all its labels."""
BASE: Final = """
model_name = "drawn"
[data]
tile_side_px = 128
[splits]
slide_folds = 3
random_folds = 6
[augment]
n_views = 1
low_resolution_px = 40
[sampling]
balance = "case_and_label"
[network]
system = "tiny"
weights = "none"
head = "logistic"
texture_weight = 1.0
[network.backbone]
layers = ["conv1", "last"]
side_px = 64
"""
NESTED: Final = """
base = "base.toml"
today = "today.toml"
seeds = [0]
min_by_slide = 0.5
[[grid]]
layers = [["last"], ["conv1", "last"], []]
texture_weight = [0.0, 1.0]
"""
TODAY: Final = """
model_name = "drawn"
[data]
tile_side_px = 128
[network]
system = "tiny"
weights = "none"
hidden_units = 4
[head]
epochs = 1
learning_rate = 1e-3
"""
_LABELS: Final = tuple(RAW_BY_LABEL)
_OTHER_SEED: Final = 1000


def draw_task(
    folder: Path,
    thumbnails_of: Collection[str] = CASES[:1],
    changed_case: str = "",
    changes: Collection[str] = (),
) -> NestedTask:
    """Draw tiles of six slides, thumbnails and a feature table; the tiny system is registered.

    Args:
        folder: receives the files of the task.
        thumbnails_of: the cases that have thumbnails, one of each label.
        changed_case: the case whose data differ from those of another call.
        changes: what of it differs; some of `CHANGES`.
    """

    def is_changed(case: str, what: str) -> bool:
        return case == changed_case and what in changes

    def label_of(case: str, number: int) -> str:
        return _LABELS[(number + is_changed(case, "labels")) % 3]

    places = [(case, block, number) for case in CASES for block in (1, 2) for number in range(3)]
    names = [f"{case} A{block}-{1000 * block}-{900 * number}" for case, block, number in places]
    labels = [label_of(case, number) for case, _, number in places]
    data_dir = write_collection(folder / "data", list(zip(names, labels, strict=True)), SIDE_PX)
    for position, (name, (case, _, number)) in enumerate(zip(names, places, strict=True)):
        if case == changed_case:  # changed labels must not change what was drawn
            seed = position + _OTHER_SEED * is_changed(case, "tiles")
            content = encode_tile(drawn_tile(_LABELS[number], SIDE_PX, seed), "JPEG")
            (file,) = data_dir.rglob(f"{file_stem_of(name)}.jpg")
            file.write_bytes(content)
    index, _ = build_index(data_dir, read_table(find_table(data_dir)), side_px=SIDE_PX)

    for case in thumbnails_of:
        for number, drawn in enumerate(_LABELS):
            seed = 90 + number + _OTHER_SEED * is_changed(case, "thumbnails")
            file = folder / "thumbnails" / RAW_BY_LABEL[label_of(case, number)]
            file.mkdir(parents=True, exist_ok=True)
            file /= f"{file_stem_of(f'{case} A9-{number}-2')}.png"
            file.write_bytes(encode_tile(drawn_tile(drawn, 64, seed), "PNG"))

    def change(rows: Rows) -> None:
        for number, row in enumerate(rows):
            row["X_x"] = str(546 + number % 2)
            case = row["image.name"].rpartition(" A")[0]
            row["classification"] = RAW_BY_LABEL[label_of(case, number % 3)]
            if is_changed(case, "rows"):
                other = rows[(number + 13) % len(rows)]
                row |= {name: other[name] for name in row if name.startswith("Texture")}

    table = write_table(folder / "table", change)
    for name, text in (("base", BASE), ("today", TODAY), ("nested", NESTED)):
        (folder / f"{name}.toml").write_text(text)
    nested, base, today = read_nested(folder / "nested.toml", None, folder / "thumbnails", table)
    sha256 = write_json(folder / "index.json", index)
    supplements = read_supplements(base, index, data_dir)
    return NestedTask(nested, base, today, index, sha256, data_dir, supplements)
