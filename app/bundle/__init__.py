"""Model bundles: find them, verify every byte that is loaded, and check their golden tiles."""

from __future__ import annotations

from app.bundle.files import Bundle, open_bundle
from app.bundle.golden_tiles import (
    GOLDEN_TOLERANCE,
    GoldenTile,
    check_golden_tiles,
    largest_difference,
    read_golden_record,
    read_golden_tiles,
    released_tiles,
    unchecked_parts,
)
from app.bundle.trust import Trust
from app.bundle.versions import find_bundle, list_versions
from app.core.golden_record import GOLDEN_EXPECTED_NAME

__all__ = [
    "GOLDEN_EXPECTED_NAME",
    "GOLDEN_TOLERANCE",
    "Bundle",
    "GoldenTile",
    "Trust",
    "check_golden_tiles",
    "find_bundle",
    "largest_difference",
    "list_versions",
    "open_bundle",
    "read_golden_record",
    "read_golden_tiles",
    "released_tiles",
    "unchecked_parts",
]
