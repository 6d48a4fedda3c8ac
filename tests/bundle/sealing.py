"""Write the manifest of a changed bundle again, with the checksums of its files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from app.core.golden_record import GOLDEN_EXPECTED_NAME, GoldenRecord, build_golden_record
from app.core.manifest import GOLDEN_NAME, MANIFEST_NAME, write_manifest
from tests.bundles import LABELS, manifest_of


def seal(root: Path, **changes: Any) -> None:
    """Write a manifest with other values in some of its fields."""
    write_manifest(root / MANIFEST_NAME, manifest_of(root, root.name).model_copy(update=changes))


def write_expected(root: Path, content: str) -> None:
    (root / GOLDEN_NAME / GOLDEN_EXPECTED_NAME).write_text(content)
    seal(root)


def complete_golden_record(root: Path) -> GoldenRecord:
    """Give a bundle the golden record of a new release: with labels and probabilities."""
    logits = json.loads((root / GOLDEN_NAME / GOLDEN_EXPECTED_NAME).read_text())["logits"]
    temperature = manifest_of(root, root.name).temperature
    record = build_golden_record(logits, None, LABELS, temperature)
    write_expected(root, record.model_dump_json(exclude_none=True))
    return record
