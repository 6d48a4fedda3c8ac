"""The tiles of a DICOM slide as an object beside it: Microscopy Bulk Simple Annotations (A.87)."""

from __future__ import annotations

import importlib.util
import math
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

import app
from app.core.slide_errors import CorruptSlideError, ExtraMissingError
from app.slides.dicom.header import damage_errors, read_whole_header
from app.slides.outputs.colours import EXCLUDED, Rgb
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow

ANNOTATIONS_NAME: Final = "annotations.dcm"

_SERIES_NUMBER: Final = 9001
"""Far from the numbers that scanners give."""
_OWN_SCHEME: Final = "99OSTEO"
_UUIDS: Final = uuid.UUID("6f1d5d64-7f0a-5c9e-9d53-0b8f5a2f7c11")
_EXCLUDED: Final = "excluded"


def write_dicom_annotations(
    path: Path,
    summary: SlideSummary,
    rows: Sequence[TileRow],
    level0: Path,
    colours: Mapping[str, Rgb],
) -> bool:
    """Write a rectangle for each classified tile, in a group for each label.

    Tiles that count towards nothing form a group of their own. Each tile has its probability and
    its share of tissue. The object belongs to the study of the slide, so it carries the patient of
    the slide's own files, as DICOM asks for; nothing else that is written does.

    Args:
        path: the file to write, which appears when it is whole.
        summary: the answer for the slide.
        rows: its tiles.
        level0: the file of the largest level; see `DicomSource.level0_path`.
        colours: for each label, red, green and blue, 0 to 255.

    Returns:
        Whether there was a tile to write; an object without any is not allowed.

    Raises:
        ExtraMissingError: highdicom is not installed.
        CorruptSlideError: the header of `level0` cannot be read, or lacks what DICOM asks for.
        OSError: the file cannot be written.
    """
    if importlib.util.find_spec("highdicom") is None:
        raise ExtraMissingError("DICOM annotations", "dicom")
    tiles = _by_group(summary, rows)
    if not tiles:
        return False
    source = _completed(read_whole_header(level0))
    try:
        document = _document(source, tiles, summary, colours)
    except damage_errors():
        # The cause is left out: it may quote values.
        raise CorruptSlideError("its DICOM header lacks what annotations need.") from None
    draft = path.with_name(f".{path.name}.part")
    try:
        document.save_as(draft, enforce_file_format=True)
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return True


def _document(
    source: Any,
    tiles: Mapping[str, list[TileRow]],
    summary: SlideSummary,
    colours: Mapping[str, Rgb],
) -> Any:
    from highdicom.ann import MicroscopyBulkSimpleAnnotations

    identity = f"{summary.sha256} {summary.model.bundle_sha256} {summary.parameters}"
    return MicroscopyBulkSimpleAnnotations(
        source_images=[source],
        annotation_coordinate_type="2D",
        annotation_groups=[
            _group(number, name, part, summary, colours)
            for number, (name, part) in enumerate(tiles.items(), start=1)
        ],
        series_instance_uid=_uid(f"series {identity}"),
        series_number=_SERIES_NUMBER,
        sop_instance_uid=_uid(f"object {identity}"),
        instance_number=1,
        manufacturer="osteo-tiles",
        manufacturer_model_name=summary.model.name,
        software_versions=app.__version__,
        device_serial_number=summary.model.version,
        content_label="TILE_LABELS",
        content_description="PRELIMINARY, research use only: labels of tiles",
    )


def _by_group(summary: SlideSummary, rows: Sequence[TileRow]) -> dict[str, list[TileRow]]:
    """Tiles by label in the model's order, then the excluded ones; without empty groups."""
    groups: dict[str, list[TileRow]] = {label: [] for label in (*summary.labels, _EXCLUDED)}
    for row in rows:
        if row.class_index is not None:
            label = summary.labels[row.class_index]
            groups[_EXCLUDED if row.excluded_by is not None else label].append(row)
    return {name: tiles for name, tiles in groups.items() if tiles}


def _group(
    number: int,
    name: str,
    tiles: list[TileRow],
    summary: SlideSummary,
    colours: Mapping[str, Rgb],
) -> Any:
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.ann import AnnotationGroup, Measurements
    from highdicom.color import CIELabColor
    from pydicom.sr.coding import Code

    one = Code("1", "UCUM", "no units")
    measured = {
        ("probability", "Probability of the most probable label"): [
            max(row.probabilities) for row in tiles
        ],
        ("tissue-share", "Share of the tile that is tissue"): [row.tissue_share for row in tiles],
    }
    model = summary.model
    return AnnotationGroup(
        number=number,
        uid=_uid(f"group {name} {summary.sha256} {model.bundle_sha256} {summary.parameters}"),
        label=name,
        annotated_property_category=Code("85756007", "SCT", "Tissue"),
        annotated_property_type=Code(name[:16], _OWN_SCHEME, name.replace("_", " ")),
        graphic_type="RECTANGLE",
        graphic_data=[_rectangle(row, summary) for row in tiles],
        algorithm_type="AUTOMATIC",
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.name,
            family=Code("123110", "DCM", "Artificial Intelligence"),
            version=model.version,
            source="osteo-tiles",
        ),
        measurements=[
            Measurements(Code(value, _OWN_SCHEME, meaning), np.array(values, np.float32), one)
            for (value, meaning), values in measured.items()
        ],
        description="PRELIMINARY, research use only",
        display_color=CIELabColor.from_rgb(*colours.get(name, EXCLUDED)),
    )


def _rectangle(row: TileRow, summary: SlideSummary) -> NDArray[np.float32]:
    """Corners in pixels of level 0, clockwise from the upper left one, within the slide."""
    side = summary.tile_side_level0
    left, top = round(row.column * side), round(row.row * side)
    right = min(left + side, summary.slide.width_px)
    bottom = min(top + side, summary.slide.height_px)
    corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return np.array(corners, np.float32 if math.ceil(max(right, bottom)) < 2**24 else np.float64)


def _completed(source: Any) -> Any:
    """Add what highdicom needs of a slide's file and some files lack; empty, as DICOM allows."""
    for keyword in (
        *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber"),
        *("StudyID", "StudyDate", "StudyTime", "ReferringPhysicianName"),
    ):
        if keyword not in source:
            setattr(source, keyword, "")
    return source


def _uid(name: str) -> str:
    """A UID that is the same for the same name (PS3.5, annex B.2)."""
    return f"2.25.{uuid.uuid5(_UUIDS, name).int}"
