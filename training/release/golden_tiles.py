"""Golden tiles: drawn tiles with their logits, which the service reproduces at every start."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from app.bundle import GOLDEN_EXPECTED_NAME
from app.core.manifest import GOLDEN_NAME, INT8_NAME, SAVED_MODEL_NAME
from app.core.tile import decode_tile
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.labels import LABEL_IDS

GOLDEN_SIDE_PX: Final = 320
"""Larger than the model's input, so that the check covers resampling."""


def write_golden_tiles(bundle_dir: Path, side_px: int) -> None:
    """Write one drawn tile of each label into `golden/`, and their logits for every precision.

    Args:
        bundle_dir: a bundle that already contains its model files.
        side_px: side of the model's input.
    """
    golden_dir = bundle_dir / GOLDEN_NAME
    golden_dir.mkdir(exist_ok=True)
    runtimes: dict[str, Runtime] = {"logits": SavedModelRuntime(bundle_dir / SAVED_MODEL_NAME)}
    if (bundle_dir / INT8_NAME).exists():
        int8 = LiteRtRuntime(bundle_dir / INT8_NAME, n_workers=1, precision="int8")
        runtimes["logits_int8"] = int8
    expected: dict[str, dict[str, list[float]]] = {key: {} for key in runtimes}
    for seed, label_id in enumerate(LABEL_IDS):
        name = f"drawn_{label_id}.png"
        content = encode_tile(draw_tile(label_id, GOLDEN_SIDE_PX, seed))
        (golden_dir / name).write_bytes(content)
        tile = decode_tile(content, side_px=side_px)[None]
        for key, runtime in runtimes.items():
            expected[key][name] = runtime.infer(tile).logits[0].tolist()
    for runtime in runtimes.values():
        runtime.close()
    document = json.dumps(expected, indent=2) + "\n"
    (golden_dir / GOLDEN_EXPECTED_NAME).write_text(document, encoding="utf-8")
