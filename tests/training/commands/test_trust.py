"""`osteo-train gate` and `osteo-train robustness` as a user runs them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from app.core.assessment_record import AssessmentRecord
from app.core.manifest import LITERT_NAME, MANIFEST_NAME, read_manifest, write_manifest
from app.core.reference_tiles import REFERENCE_NAME
from tests.bundles import manifest_of
from tests.records import GATE, a_record
from training.cli import app
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import Index, build_index, read_index
from training.reliability.robustness import CHANGES
from training.storage.frozen_model import write_json

RELEASED = Path(__file__).parents[3] / "models" / "osteo-mobilenetv2" / "1"


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("OSTEO_DATA_DIR", raising=False)
    monkeypatch.setenv("COLUMNS", "200")  # rows of a table stay on one line
    monkeypatch.chdir(tmp_path)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def bundle_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released LiteRT file with limits that drawn tiles pass, without distances."""
    folder = tmp_path_factory.mktemp("models") / "osteo-mobilenetv2" / "1"
    folder.mkdir(parents=True)
    shutil.copyfile(RELEASED / LITERT_NAME, folder / LITERT_NAME)
    record = a_record(gate=GATE.model_copy(update={"max_distance": None}))
    write_manifest(folder / MANIFEST_NAME, manifest_of(folder, record=record))
    return folder


def pictures(folder: Path) -> Path:
    """Two tiles, one of them in a subfolder, a white sheet, a damaged file and a text."""
    (folder / "below").mkdir(parents=True)
    (folder / "one.png").write_bytes(encode_tile(draw_tile("viable_tumor", 256, 0)))
    tile_bytes = encode_tile(draw_tile("non_viable_tumor", 256, 1), "JPEG")
    (folder / "below" / "TWO.JPG").write_bytes(tile_bytes)
    (folder / "white.png").write_bytes(encode_tile(np.full((256, 256, 3), 255, np.uint8)))
    (folder / "damaged.jpg").write_bytes(tile_bytes[:2000])
    (folder / "notes.txt").write_text("no picture by its name, so not counted")
    return folder


def test_gate_prints_one_row_for_each_folder_with_reasons_and_unreadable_files(
    bundle_dir: Path, tmp_path: Path
) -> None:
    first = pictures(tmp_path / "first")
    second = tmp_path / "[second]"
    second.mkdir()
    (second / "tile.webp").write_bytes(webp())
    result = run("gate", bundle_dir, first, second)
    assert result.exit_code == 0, result.output
    rows = [[c.strip() for c in line.split("│")] for line in result.output.splitlines()]
    found = {row[1]: row[2:] for row in rows if len(row) > 3}
    assert found["first"][:4] == ["3", "1", "33.3%", "0.8% to 90.6%"]
    assert found["first"][4] == "blank 33.3%, blurred 33.3%, not_tissue 33.3%"
    assert found["[second]"][:3] == ["1", "0", "0.0%"]


def webp() -> bytes:
    path = Path("tile.webp")
    Image.fromarray(draw_tile("viable_tumor", 256, 2)).save(path, lossless=True)
    return path.read_bytes()


def test_gate_prints_the_name_of_a_relative_folder(bundle_dir: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "here" / "p")
    result = CliRunner().invoke(app, ["gate", str(bundle_dir), str(tmp_path / "here" / "p" / "..")])
    assert result.exit_code == 0, result.output
    assert " here " in result.output


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("empty", "empty has no readable images (JPEG, PNG, TIFF, WebP)."),
        ("nowhere", "nowhere is not a folder."),
        ("damaged", "(JPEG, PNG, TIFF, WebP); 1 file could not be decoded"),
    ],
)
def test_gate_names_a_folder_without_pictures(
    bundle_dir: Path, tmp_path: Path, folder: str, says: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "a.png").write_bytes(b"")
    assert says in refused("gate", bundle_dir, folder)


def test_gate_never_reads_a_file_larger_than_a_tile_can_be(
    bundle_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    (folder / "tile.png").write_bytes(encode_tile(draw_tile("viable_tumor", 256, 0)))
    with (folder / "whole-slide.tif").open("wb") as stream:
        stream.truncate(2**28 + 1)  # sparse: takes no disk space
    read: list[str] = []
    read_bytes = Path.read_bytes

    def remember(path: Path) -> bytes:
        read.append(path.name)
        return b"" if path.name == "whole-slide.tif" else read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", remember)
    result = run("gate", bundle_dir, folder)
    assert result.exit_code == 0, result.output
    assert "tile.png" in read
    assert "whole-slide.tif" not in read


def test_gate_refuses_a_bundle_without_an_assessment(tmp_path: Path) -> None:
    assert "released without an assessment" in refused("gate", RELEASED, pictures(tmp_path / "p"))


def test_gate_refuses_a_bundle_without_its_reference(bundle_dir: Path, tmp_path: Path) -> None:
    copy = tmp_path / "models" / "osteo-mobilenetv2" / "1"
    shutil.copytree(bundle_dir, copy)
    record: AssessmentRecord = a_record()
    manifest, _ = read_manifest(copy / MANIFEST_NAME)
    write_manifest(copy / MANIFEST_NAME, manifest.model_copy(update={"assessment": record}))
    assert REFERENCE_NAME in refused("gate", copy, pictures(tmp_path / "p"))


@pytest.fixture
def two_tiles(drawn_dir: Path, tmp_path: Path) -> Path:
    """An index file of two drawn tiles."""
    index, _ = build_index(drawn_dir, read_table(find_table(drawn_dir)), side_px=128)
    write_json(tmp_path / "two.json", index.model_copy(update={"tiles": index.tiles[:2]}))
    return tmp_path / "two.json"


def test_robustness_prints_and_writes_one_row_for_each_change(
    drawn_dir: Path, two_tiles: Path
) -> None:
    given = ("--data-dir", drawn_dir, "--index", two_tiles)
    result = run("robustness", RELEASED, *given, "--out", "new/table.json")
    assert result.exit_code == 0, result.output
    entries = json.loads(Path("new/table.json").read_text())
    assert [entry["change"] for entry in entries] == list(CHANGES)
    assert entries[0] == {
        "change": "lossless copy",
        "n_tiles": 2,
        "unchanged": 1.0,
        "mean_difference": pytest.approx(0.0, abs=0.02),
        "max_difference": pytest.approx(0.0, abs=0.02),
    }
    for change in CHANGES:
        assert change in result.output


def test_robustness_names_what_is_missing(
    drawn_dir: Path, two_tiles: Path, bundle_dir: Path, tmp_path: Path
) -> None:
    given = ("robustness", bundle_dir, "--data-dir")
    assert ".jpg: No such file" in refused(*given, tmp_path, "--index", two_tiles)
    assert "osteo-train index" in refused(*given, drawn_dir, "--index", "nowhere.json")
    assert "nowhere" in refused("robustness", "nowhere", "--data-dir", ".", "--index", two_tiles)
    empty: Index = read_index(two_tiles)[0].model_copy(update={"tiles": ()})
    write_json(tmp_path / "none.json", empty)
    assert "no tiles" in refused(*given, drawn_dir, "--index", "none.json")
