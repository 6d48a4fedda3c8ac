from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.core.manifest import Label
from app.slides.outputs.report import write_report
from app.slides.outputs.review_tiles import MAX_CARDS
from app.slides.outputs.subject import OutputSubject
from app.slides.results import Necrosis
from app.slides.tile_rows import TileRow
from tests.slides.outputs.making import make_overview, make_square, make_subject, make_summary
from tests.slides.outputs.page_reader import Page

HOSTILE = "<script>alert('x')</script>&\"$"


@pytest.fixture
def subject(tmp_path: Path) -> OutputSubject:
    return make_subject(tmp_path)


def _page(path: Path, subject: OutputSubject) -> Page:
    overview = make_overview(list(subject.rows), subject.summary, 400)
    write_report(path / "report.html", overview, subject, make_square)
    return Page((path / "report.html").read_text(encoding="utf-8"))


def _with_necrosis(subject: OutputSubject, **changes: Any) -> OutputSubject:
    necrosis = Necrosis.model_validate({**subject.summary.necrosis.model_dump(), **changes})
    return replace(subject, summary=subject.summary.model_copy(update={"necrosis": necrosis}))


def test_write_report_says_notice_status_ratio_group_and_bias(
    tmp_path: Path, subject: OutputSubject
) -> None:
    text = _page(tmp_path, subject).text
    necrosis = subject.summary.necrosis
    assert necrosis.ratio is not None
    assert f"Preliminary. {subject.summary.notice}" in text
    assert f"{100 * necrosis.ratio:.0f} %" in text.replace("\xa0", " ")
    assert f"necrosis ratio {necrosis.ratio:.3f}" in text
    assert "Response (Huvos) Undetermined" in text
    assert str(necrosis.reason) in text
    assert str(necrosis.bias) in text


def test_write_report_draws_each_interval_with_its_name(
    tmp_path: Path, subject: OutputSubject
) -> None:
    page = _page(tmp_path, subject)
    bars = [attributes for _, attributes in page.elements if attributes.get("class") == "interval"]
    intervals = subject.summary.necrosis.intervals
    assert len(bars) == len(intervals) == 3
    per_unit = _scale_of(page)
    for bar, interval in zip(bars, intervals, strict=True):
        width = float(bar["width"] or 0)
        assert width / per_unit == pytest.approx(interval.high - interval.low, abs=0.002)
        assert f"{interval.low:.2f} to {interval.high:.2f}" in page.text
        assert interval.detail in page.text


def _scale_of(page: Page) -> float:
    """Width of the scale from 0 to 1, by its outer ticks."""
    ticks = [float(a["x1"] or 0) for _, a in page.elements if a.get("class") == "tick"]
    return max(ticks) - min(ticks)


def test_write_report_says_why_there_is_no_ratio(tmp_path: Path, subject: OutputSubject) -> None:
    changed = _with_necrosis(
        subject, ratio=None, intervals=[], bias=None, reason="Only 3 mm² of tumour were found."
    )
    page = _page(tmp_path, changed)
    assert "No ratio" in page.text
    assert "Only 3 mm² of tumour were found." in page.text
    assert not [a for _, a in page.elements if a.get("class") == "interval"]


@pytest.mark.parametrize(("group", "said"), [("good", "Good response"), ("poor", "Poor response")])
def test_write_report_names_the_group(
    tmp_path: Path, subject: OutputSubject, group: str, said: str
) -> None:
    page = _page(tmp_path, _with_necrosis(subject, huvos_group=group, reason=None))
    assert said in page.text


def test_write_report_needs_no_script_no_network_and_no_other_file(
    tmp_path: Path, subject: OutputSubject
) -> None:
    page = _page(tmp_path, subject)
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "a", "form"}
    policies = [a["content"] for _, a in page.elements if a.get("http-equiv")]
    assert policies == ["default-src 'none'; img-src data:; style-src 'unsafe-inline'"]
    addresses = [
        address for _, a in page.elements for name in ("src", "href") if (address := a.get(name))
    ]
    assert len(addresses) == 2 + MAX_CARDS
    assert all(address.startswith("data:image/webp;base64,") for address in addresses)
    assert "url(" not in (tmp_path / "report.html").read_text(encoding="utf-8")


def test_write_report_describes_each_picture_in_words(
    tmp_path: Path, subject: OutputSubject
) -> None:
    page = _page(tmp_path, subject)
    pictures = [a for tag, a in page.elements if tag == "img"]
    drawings = [a for tag, a in page.elements if tag == "svg"]
    assert all(picture["alt"] for picture in pictures)
    assert all(drawing["aria-label"] and drawing["role"] == "img" for drawing in drawings)
    assert len(drawings) == 3


def test_write_report_numbers_the_same_tiles_on_the_map_and_below(
    tmp_path: Path, subject: OutputSubject
) -> None:
    page = _page(tmp_path, subject)
    places = [a for _, a in page.elements if a.get("class") == "place"]
    cards = [a for _, a in page.elements if a.get("class") == "tile"]
    assert len(places) == len(cards) == MAX_CARDS


def test_write_report_shows_tiles_without_pictures_if_they_cannot_be_read(
    tmp_path: Path, subject: OutputSubject
) -> None:
    overview = make_overview(list(subject.rows), subject.summary, 400)
    for read_square in (None, lambda _: None):
        write_report(tmp_path / "report.html", overview, subject, read_square)
        page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
        assert not [a for tag, a in page.elements if tag == "img"]
        assert len([a for _, a in page.elements if a.get("class") == "tile"]) == MAX_CARDS


def test_write_report_says_what_is_missing(tmp_path: Path, subject: OutputSubject) -> None:
    page = _page(tmp_path, subject)
    assert f"1 tissue tile of {len(subject.rows)} without an answer" in page.text
    assert "Column 30, row 13: The JPEG data ends in the middle." in page.text


def test_write_report_of_a_complete_slide_has_no_alarm(
    tmp_path: Path, subject: OutputSubject
) -> None:
    rows = [row for row in subject.rows if row.error is None]
    page = _page(tmp_path, replace(subject, rows=rows, summary=make_summary(rows)))
    assert "Incomplete" not in page.text
    assert "all tissue tiles could be read" in page.text


def test_write_report_counts_tiles_and_area_of_each_label(
    tmp_path: Path, subject: OutputSubject
) -> None:
    text = _page(tmp_path, subject).text
    necrosis = subject.summary.necrosis
    area = f"{necrosis.n_viable * subject.grid.tile_area_mm2:.0f}"
    assert f"Viable Tumor {necrosis.n_viable} {area}" in text
    assert f"Nearly empty {subject.summary.tiles.excluded['blank']}" in text


def test_write_report_identifies_slide_and_model(tmp_path: Path, subject: OutputSubject) -> None:
    text = _page(tmp_path, subject).text
    summary = subject.summary
    assert summary.sha256 in text
    assert summary.model.bundle_sha256 in text
    assert "min_tissue_share 0.1" in text
    assert "0.243 µm per pixel, stated by the file" in text


def test_write_report_escapes_all_text(tmp_path: Path, subject: OutputSubject) -> None:
    row = TileRow(0, 0, 1.0, error=HOSTILE)
    summary = make_summary([*subject.rows, row])
    summary = summary.model_copy(
        update={
            "slide": summary.slide.model_copy(update={"format": HOSTILE}),
            "parameters": {HOSTILE: HOSTILE},
            "model": summary.model.model_copy(update={"name": HOSTILE}),
        }
    )
    labels = (*subject.manifest.labels[:2], Label(id="v", name=HOSTILE, is_tumor=True))
    manifest = subject.manifest.model_copy(update={"labels": labels})
    changed = replace(subject, rows=[*subject.rows, row], summary=summary, manifest=manifest)
    page = _page(tmp_path, _with_necrosis(changed, reason=HOSTILE, bias=HOSTILE))
    assert not [tag for tag, _ in page.elements if tag == "script"]
    assert page.text.count(HOSTILE) >= 7


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (2, 40), (40, 2)])
def test_write_report_takes_slides_of_any_shape(tmp_path: Path, columns: int, rows: int) -> None:
    _page(tmp_path, make_subject(tmp_path, columns, rows))
