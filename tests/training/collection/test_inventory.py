"""The report finds and shows every oddity that is planted in a drawn collection."""

from __future__ import annotations

import io
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from tests.training.conftest import drawn_tile, write_collection
from training.cli import app
from training.collection.inventory import DatasetReport
from training.collection.perceptual_hash import (
    find_look_alikes,
    fingerprints_of,
)
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.overlaps import overlapping_pairs
from training.data.tile_names import parse_tile_name

SET = "Training-Set-1/set1"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)


def report(data_dir: Path, out: Path, *more: object) -> Result:
    arguments = ["dataset", "report", "--data-dir", data_dir, "--out", out, *more]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(out: Path) -> DatasetReport:
    return DatasetReport.model_validate_json((out / "report.json").read_bytes())


def encoded(pixels: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], quality: int = 95) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=quality)
    return stream.getvalue()


def test_report_counts_class_by_case(drawn_dir: Path, tmp_path: Path) -> None:
    result = report(drawn_dir, tmp_path / "out")
    assert result.exit_code == 0, result.output
    found = read(tmp_path / "out")
    each = {"Non-Tumor": 2, "Non-Viable-Tumor": 2, "Viable": 2}
    assert found.tiles_by_case == {"Case 3": each, "Case 48": each}
    assert (found.n_tiles, found.n_slides, found.sizes_px) == (12, 4, {"128 x 128": 12})
    odd = (found.near_blank, found.unreadable, found.same_bytes, found.look_alikes)
    assert odd == ((), (), (), ())


def test_report_lists_a_tile_that_decodes_in_part(collection: Path, tmp_path: Path) -> None:
    tile = collection / SET / "Case-4-C0-100-200.jpg"
    whole = tile.read_bytes()
    tile.write_bytes(whole[:-9] + whole[-2:])
    assert report(collection, tmp_path / "out").exit_code == 0
    (unreadable,) = read(tmp_path / "out").unreadable
    assert "damaged" in str(unreadable)


@pytest.fixture
def odd(collection: Path) -> Path:
    """Three sound tiles and one of every kind of oddity."""
    tile = draw_tile("viable_tumor", 128, 2)  # what Case-4-C2 shows
    blank = np.full((128, 128, 3), 244, np.uint8)
    blank[:12, :40] = draw_tile("viable_tumor", 128, 9)[:12, :40]
    planted = {
        "Case-4-C5-1-1": encoded(blank),
        "Case-4-C6-1-1": (collection / SET / "Case-4-C0-100-200.jpg").read_bytes(),
        "Case-4-C7-1-1": encoded(np.rot90(tile)[:, ::-1].copy(), 70),
        "Case-4-C8-1-1": (collection / SET / "Case-4-C1-100-200.jpg").read_bytes()[:1500],
    }
    for name, content in planted.items():
        (collection / SET / f"{name}.jpg").write_bytes(content)
    with (collection / "features.csv").open("a") as stream:
        for name in (*planted, "Case 4 C9-1-1"):
            stream.write(f"{name},Non-Tumor\n")
    return collection


def test_report_finds_what_is_odd(odd: Path, tmp_path: Path) -> None:
    result = report(odd, tmp_path)
    assert result.exit_code == 0, result.output
    found = read(tmp_path)
    assert [tile.tile for tile in found.near_blank] == ["Case-4-C5-1-1"]
    assert found.near_blank[0].tissue_share == pytest.approx(12 * 40 / 128**2, abs=0.01)
    assert [tile.tile for tile in found.unreadable] == ["Case-4-C8-1-1", "Case-4-C9-1-1"]
    assert [[t.tile for t in group] for group in found.same_bytes] == [
        ["Case-4-C0-100-200", "Case-4-C6-1-1"]
    ]
    (pair,) = found.look_alikes
    assert (pair.first.tile, pair.second.tile) == ("Case-4-C2-100-200", "Case-4-C7-1-1")
    assert {pair.first.label, pair.second.label} == {"Viable", "Non-Tumor"}
    assert "1 near-blank (less than 10% tissue), 2 unreadable" in " ".join(result.output.split())


def test_report_takes_its_limits_from_the_command(odd: Path, tmp_path: Path) -> None:
    assert report(odd, tmp_path, "--min-tissue", 0, "--max-bits", 0).exit_code == 0
    found = read(tmp_path)
    assert not found.near_blank
    assert not found.look_alikes


def test_report_shows_every_tile_on_a_sheet_of_its_class(odd: Path, tmp_path: Path) -> None:
    (tmp_path / "sheet-old.png").write_bytes(b"of an earlier report")
    assert report(odd, tmp_path).exit_code == 0
    found = read(tmp_path)
    assert found.sheets == tuple(sorted(path.name for path in tmp_path.glob("sheet-*.png")))
    assert found.sheets == (
        "sheet-non-tumor.png",
        "sheet-non-viable-tumor.png",
        "sheet-viable.png",
    )
    with Image.open(tmp_path / "sheet-viable.png") as sheet:
        pixels = np.asarray(sheet, dtype=np.int16)
    # The only viable tile: below the heading (34 px), inside the red frame of a look-alike.
    shown = pixels[8 + 34 + 10 : 8 + 34 + 100, 18:108]
    expected = draw_tile("viable_tumor", 128, 2)
    assert np.abs(shown.mean((0, 1)) - expected.mean((0, 1))).max() < 6
    assert tuple(pixels[42, 40]) == (0xC0, 0x29, 0x42)


def test_report_bounds_the_tiles_on_a_sheet(tmp_path: Path) -> None:
    rows = [(f"Case 4 A{i}-1-1", "viable_tumor") for i in range(14)]
    folder = write_collection(tmp_path / "many", rows, 64)
    assert report(folder, tmp_path / "some", "--sheet-tiles", 13).exit_code == 0
    with Image.open(tmp_path / "some" / "sheet-viable.png") as sheet:
        assert sheet.height == 8 + 34 + 2 * (112 + 16 + 8)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, _: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def test_report_pages_have_the_same_content_and_escape_names(odd: Path, tmp_path: Path) -> None:
    evil = "<script>alert(1)</script>|x"
    (odd / SET / f"{evil.replace('/', '')}.jpg").write_bytes(b"nothing")
    assert report(odd, tmp_path).exit_code == 0
    page = _Text()
    page.feed((tmp_path / "report.html").read_text())
    markdown = (tmp_path / "report.md").read_text()
    assert "script" not in page.tags
    assert "<script>" in page.text
    assert "<script>" not in markdown
    for text in ("Case-4-C5-1-1", "no row in the table", "sheet-non-tumor.png"):
        assert text in markdown.replace("\\", "")
    assert page.tags.count("img") == len(read(tmp_path).sheets) == markdown.count("![")


def test_report_fails_without_a_table(tmp_path: Path) -> None:
    result = report(tmp_path, tmp_path / "out")
    assert result.exit_code == 1
    assert "holds no CSV file" in " ".join(result.output.split())


def test_report_names_a_folder_that_is_not_writable(drawn_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    result = report(drawn_dir, tmp_path / "out")
    assert result.exit_code == 1
    assert "cannot be written" in " ".join(result.output.split())


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirrored", [False, True])
def test_fingerprints_match_a_rotated_copy_and_no_other_tile(turns: int, mirrored: bool) -> None:
    tile, stranger = drawn_tile("viable_tumor", 224, 1), drawn_tile("viable_tumor", 224, 2)
    copy = np.rot90(tile, turns)[:, :: -1 if mirrored else 1]
    recoded = np.asarray(Image.open(io.BytesIO(encode_tile(copy.copy(), "JPEG"))))
    hashes = [fingerprints_of(stranger), fingerprints_of(tile), None, fingerprints_of(recoded)]
    assert [(pair.first, pair.second) for pair in find_look_alikes(hashes)] == [(1, 3)]


def test_overlaps_are_counted_within_a_slide() -> None:
    names = ["Case 4 A1-0-0", "Case 4 A1-999-999", "Case 4 A1-1000-0", "Case 4 A2-0-0"]
    places = [parse_tile_name(name) for name in names]
    # At 1000 px the first overlaps the second, the second the third; the first only touches it.
    assert len(overlapping_pairs(places, 1000)) == 2
    assert len(overlapping_pairs(places, 1001)) == 3
    assert len(overlapping_pairs(places, 10)) == 0


@pytest.mark.real_tiles
def test_report_of_the_real_tiles(real_dir: Path, tmp_path: Path) -> None:
    assert report(real_dir, tmp_path).exit_code == 0
    found = read(tmp_path)
    assert (found.unreadable, found.same_bytes, found.look_alikes) == ((), (), ())
    assert set(found.sizes_px) == {"1024 x 1024"}
    assert len(found.sheets) == len(found.labels) >= 3
    assert json.loads((tmp_path / "report.json").read_text())["n_tiles"] == found.n_tiles
