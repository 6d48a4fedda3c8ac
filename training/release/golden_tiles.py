"""Golden tiles: drawn tiles with their answers, which the service reproduces at every start."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from app.bundle import GOLDEN_EXPECTED_NAME, Bundle, read_golden_record
from app.core.golden_record import GoldenRecord, build_golden_record
from app.core.manifest import GOLDEN_NAME, INT8_NAME, SAVED_MODEL_NAME, Label
from app.core.tile import decode_tile
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime
from training.data.drawn_tiles import DRAWINGS, draw_tile, encode_tile

GOLDEN_SIDE_PX: Final = 320
"""Larger than the model's input, so that the check covers resampling."""


def write_golden_tiles(
    bundle_dir: Path, side_px: int, labels: tuple[Label, ...], temperature: float
) -> None:
    """Write one drawn tile of each label into `golden/`, and their answers for every precision.

    Args:
        bundle_dir: a bundle that already contains its model files.
        side_px: side of the model's input.
        labels: the manifest's labels.
        temperature: the manifest's temperature.
    """
    golden_dir = bundle_dir / GOLDEN_NAME
    golden_dir.mkdir(exist_ok=True)
    runtimes: dict[str, Runtime] = {"logits": SavedModelRuntime(bundle_dir / SAVED_MODEL_NAME)}
    if (bundle_dir / INT8_NAME).exists():
        int8 = LiteRtRuntime(bundle_dir / INT8_NAME, n_workers=1, precision="int8")
        runtimes["logits_int8"] = int8
    logits: dict[str, dict[str, tuple[float, ...]]] = {key: {} for key in runtimes}
    for seed, label in enumerate(labels):
        name = f"drawn_{label.id}.png"
        # A label without a drawing of its own gets any: the record says what the model answers.
        drawing = label.id if label.id in DRAWINGS else DRAWINGS[seed % len(DRAWINGS)]
        content = encode_tile(draw_tile(drawing, GOLDEN_SIDE_PX, seed))
        (golden_dir / name).write_bytes(content)
        tile = decode_tile(content, side_px=side_px)[None]
        for key, runtime in runtimes.items():
            logits[key][name] = tuple(runtime.infer(tile).logits[0].tolist())
    for runtime in runtimes.values():
        runtime.close()
    record = build_golden_record(logits["logits"], logits.get("logits_int8"), labels, temperature)
    _write(bundle_dir, record)


def renew_golden_record(bundle: Bundle, draft_dir: Path, temperature: float) -> Path:
    """Write the golden record of a version with another temperature, and return its path.

    The logits stay those of the bundle; labels are added if it was released without them.

    Raises:
        ManifestError: the bundle's golden record cannot be read.
    """
    before = read_golden_record(bundle)
    record = build_golden_record(
        before.logits, before.logits_int8, bundle.manifest.labels, temperature
    )
    return _write(draft_dir, record)


def _write(bundle_dir: Path, record: GoldenRecord) -> Path:
    file = bundle_dir / GOLDEN_NAME / GOLDEN_EXPECTED_NAME
    document = record.model_dump_json(indent=2, exclude_none=True) + "\n"
    file.write_text(document, encoding="utf-8")
    return file
