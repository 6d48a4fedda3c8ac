from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from app.core.slide_errors import CorruptSlideError, ExtraMissingError
from app.slides.outputs.dicom_annotations import write_dicom_annotations
from app.slides.results import SlideSummary
from app.slides.tile_rows import TileRow
from tests.slides.dicom.conftest import opened
from tests.slides.outputs.making import make_summary

COLOURS = {
    "non_tumor": (240, 228, 66),
    "non_viable_tumor": (30, 60, 150),
    "viable_tumor": (213, 94, 0),
}
ROWS = [
    TileRow(0, 0, 0.9, (0.1, 0.2, 0.7)),
    TileRow(1, 0, 0.8, (0.1, 0.6, 0.3)),
    TileRow(1, 1, 0.7, (0.75, 0.2, 0.05)),
    TileRow(0, 1, 0.2, (0.9, 0.05, 0.05), reasons=("blank",)),
    TileRow(0, 2, 0.5, error="damaged"),
]


def summary_of(rows: list[TileRow], series: Path) -> SlideSummary:
    """Summary of the drawn slide of 2 x 2 cells of 512 px."""
    with opened(series) as source:
        facts = source.facts
    changes = {"slide": facts, "tile_side_level0": 512.0, "columns": 2, "rows": 2}
    return make_summary(rows, 2, 2).model_copy(update=changes)


@pytest.fixture(scope="module")
def written(series: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("annotations") / "annotations.dcm"
    level0 = series / "level1.dcm"
    assert write_dicom_annotations(path, summary_of(ROWS, series), ROWS, level0, COLOURS)
    return path


def groups_of(path: Path) -> dict[str, Any]:
    from highdicom.ann import MicroscopyBulkSimpleAnnotations

    document = MicroscopyBulkSimpleAnnotations.from_dataset(pydicom.dcmread(path))
    return {group.label: group for group in document.get_annotation_groups()}


def test_the_groups_hold_the_tiles_by_label_with_their_probabilities(written: Path) -> None:
    groups = groups_of(written)
    assert list(groups) == ["non_tumor", "non_viable_tumor", "viable_tumor", "excluded"]
    for label, corner, probability in (
        ("viable_tumor", (0, 0), 0.7),
        ("non_viable_tumor", (512, 0), 0.6),
        ("non_tumor", (512, 512), 0.75),
        ("excluded", (0, 512), 0.9),
    ):
        (rectangle,) = groups[label].get_graphic_data(coordinate_type="2D")
        x, y = corner
        assert rectangle.tolist() == [[x, y], [x + 512, y], [x + 512, y + 512], [x, y + 512]]
        names, values, units = groups[label].get_measurements()
        assert [name.value for name in names] == ["probability", "tissue-share"]
        assert values[0, 0] == pytest.approx(probability)
        assert units[0].value == "1"


def test_the_object_belongs_to_the_slide(written: Path, series: Path) -> None:
    document, level0 = (pydicom.dcmread(p) for p in (written, series / "level1.dcm"))
    for keyword in ("StudyInstanceUID", "PatientID", "PatientName", "ContainerIdentifier"):
        assert document[keyword].value == level0[keyword].value
    assert document.SeriesInstanceUID != level0.SeriesInstanceUID
    assert document.ReferencedImageSequence[0].ReferencedSOPInstanceUID == level0.SOPInstanceUID
    assert "PRELIMINARY" in document.ContentDescription
    assert "research use" in document.ContentDescription


def test_the_same_answer_has_the_same_uids(written: Path, series: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.dcm"
    write_dicom_annotations(again, summary_of(ROWS, series), ROWS, series / "level1.dcm", COLOURS)
    one, other = pydicom.dcmread(written), pydicom.dcmread(again)
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert one.SeriesInstanceUID == other.SeriesInstanceUID
    assert list(tmp_path.iterdir()) == [again]


def test_dciodvfy_finds_no_error(written: Path, series: Path) -> None:
    program = shutil.which("dciodvfy")
    if program is None:
        if os.environ.get("REQUIRE_CLIENT_TOOLS"):
            pytest.fail("dciodvfy is not installed (Debian: dicom3tools)")
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")
    assert "CommonZCoordinateValue" not in groups_of(written)["viable_tumor"]
    for path in (series / "level1.dcm", written):
        said = subprocess.run([program, path], capture_output=True, text=True, check=False).stderr
        errors = [line for line in said.splitlines() if line.startswith("Error")]
        # It asks why an attribute is there that is not.
        assert [error for error in errors if "<CommonZCoordinateValue> = <>" not in error] == []


def test_no_object_is_written_without_a_classified_tile(series: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.dcm"
    rows = [ROWS[-1]]
    summary = summary_of(rows, series)
    assert not write_dicom_annotations(path, summary, rows, series / "level1.dcm", COLOURS)
    assert not path.exists()


def test_many_tiles_fit_into_one_object(series: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    rows = [
        TileRow(i % 40, i // 40, 1.0, tuple(rng.dirichlet((1, 1, 1)).tolist())) for i in range(1500)
    ]
    path = tmp_path / "many.dcm"
    summary = summary_of(ROWS, series)
    write_dicom_annotations(path, summary, rows, series / "level1.dcm", COLOURS)
    groups = groups_of(path)
    assert sum(group.number_of_annotations for group in groups.values()) == 1500


def test_an_attribute_that_the_slide_lacks_is_left_empty(series: Path, tmp_path: Path) -> None:
    level0 = pydicom.dcmread(series / "level1.dcm")
    del level0.PatientBirthDate, level0.StudyID
    level0.save_as(tmp_path / "level1.dcm")
    path = tmp_path / "annotations.dcm"
    summary = summary_of(ROWS, series)
    assert write_dicom_annotations(path, summary, ROWS, tmp_path / "level1.dcm", COLOURS)
    assert pydicom.dcmread(path).StudyID == ""


def test_a_damaged_slide_leaves_no_file(series: Path, tmp_path: Path) -> None:
    (tmp_path / "level1.dcm").write_bytes(b"no DICOM")
    path = tmp_path / "annotations.dcm"
    summary = summary_of(ROWS, series)
    with pytest.raises(CorruptSlideError):
        write_dicom_annotations(path, summary, ROWS, tmp_path / "level1.dcm", COLOURS)
    assert not path.exists()


def test_a_slide_without_a_specimen_cannot_be_annotated(series: Path, tmp_path: Path) -> None:
    level0 = pydicom.dcmread(series / "level1.dcm")
    del level0.SpecimenDescriptionSequence, level0.StudyInstanceUID
    level0.save_as(tmp_path / "level1.dcm")
    path = tmp_path / "annotations.dcm"
    summary = summary_of(ROWS, series)
    with pytest.raises(CorruptSlideError, match="lacks what annotations need"):
        write_dicom_annotations(path, summary, ROWS, tmp_path / "level1.dcm", COLOURS)
    assert not path.exists()


def test_a_missing_highdicom_is_said_by_name(
    series: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary = summary_of(ROWS, series)
    monkeypatch.setitem(sys.modules, "highdicom", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(ExtraMissingError, match=r"osteo-tiles\[dicom\]"):
        write_dicom_annotations(tmp_path / "a.dcm", summary, ROWS, series / "level1.dcm", COLOURS)
