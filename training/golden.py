"""Golden tiles: drawn, not clinical; the service compares its answers with these at every start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from app.bundle import GOLDEN_EXPECTED_NAME
from app.core.manifest import GOLDEN_NAME, SAVED_MODEL_NAME
from app.core.tile import decode_tile
from app.runtime.savedmodel import SavedModelRuntime
from training.drawn import draw_tile, encode_tile
from training.labels import LABEL_IDS

GOLDEN_SIDE_PX: Final = 320
"""More than the model's side, so that the check covers the resampling too."""


def write_golden_tiles(bundle_dir: Path) -> None:
    """Draw one tile a label into `golden/` and write the SavedModel's logits beside them.

    Args:
        bundle_dir: a bundle whose `saved_model/` is written already.
    """
    golden_dir = bundle_dir / GOLDEN_NAME
    golden_dir.mkdir(exist_ok=True)
    runtime = SavedModelRuntime(bundle_dir / SAVED_MODEL_NAME)
    expected = {}
    for seed, label_id in enumerate(LABEL_IDS):
        name = f"drawn_{label_id}.png"
        content = encode_tile(draw_tile(label_id, GOLDEN_SIDE_PX, seed))
        (golden_dir / name).write_bytes(content)
        logits = runtime.infer(decode_tile(content)[None]).logits[0]
        expected[name] = [float(value) for value in logits]
    runtime.close()
    document = json.dumps({"logits": expected}, indent=2) + "\n"
    (golden_dir / GOLDEN_EXPECTED_NAME).write_text(document, encoding="utf-8")
