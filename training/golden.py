"""Golden tiles: drawn, not clinical; the service compares its answers with these at every start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from app.bundle import GOLDEN_EXPECTED_NAME
from app.core.manifest import GOLDEN_NAME, INT8_NAME, SAVED_MODEL_NAME
from app.core.tile import decode_tile
from app.runtime.litert import LiteRtRuntime
from app.runtime.savedmodel import SavedModelRuntime
from training.drawn import draw_tile, encode_tile
from training.labels import LABEL_IDS

GOLDEN_SIDE_PX: Final = 320
"""More than the model's side, so that the check covers the resampling too."""


def write_golden_tiles(bundle_dir: Path) -> None:
    """Draw one tile a label into `golden/` and write the logits of both precisions beside them.

    Args:
        bundle_dir: a bundle whose model files are written already.
    """
    golden_dir = bundle_dir / GOLDEN_NAME
    golden_dir.mkdir(exist_ok=True)
    runtime = SavedModelRuntime(bundle_dir / SAVED_MODEL_NAME)
    int8 = LiteRtRuntime(bundle_dir / INT8_NAME, n_workers=1, precision="int8")
    expected: dict[str, dict[str, list[float]]] = {"logits": {}, "logits_int8": {}}
    for seed, label_id in enumerate(LABEL_IDS):
        name = f"drawn_{label_id}.png"
        content = encode_tile(draw_tile(label_id, GOLDEN_SIDE_PX, seed))
        (golden_dir / name).write_bytes(content)
        tile = decode_tile(content)[None]
        expected["logits"][name] = runtime.infer(tile).logits[0].tolist()
        expected["logits_int8"][name] = int8.infer(tile).logits[0].tolist()
    runtime.close()
    int8.close()
    document = json.dumps(expected, indent=2) + "\n"
    (golden_dir / GOLDEN_EXPECTED_NAME).write_text(document, encoding="utf-8")
