from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from app.bundle import find_bundle
from app.cli.commands import app
from app.core.reference_tiles import REFERENCE_NAME
from tests.bundles import FakeRuntime, build_bundle
from tests.conftest import RELEASED_MODELS
from tests.records import a_record, embedding_at
from training.data.drawn_tiles import draw_tile, encode_tile

runner = CliRunner()
N_CHECKS = 3  # runs at start: the shapes of the outputs, the golden tile with others and alone
TISSUE = encode_tile(draw_tile("viable_tumor", 256, 0))


@pytest.fixture
def tile(tmp_path: Path) -> Path:
    path = tmp_path / "tile[bold].png"  # must not be read as markup
    path.write_bytes(TISSUE)
    return path


@pytest.mark.parametrize(
    ("options", "mode", "side_px"),
    [
        ([], "RGB", 512),
        (["--picture", "heat"], "RGBA", 512),
        (["--picture", "side-by-side"], "RGB", 512),
        (["--size-px", "64", "--opacity", "1"], "RGB", 64),
        (["--label", "non_tumor", "--size-px", "2048"], "RGB", 2048),
    ],
)
@pytest.mark.usefixtures("runtime")
def test_explain_writes_a_picture(tile: Path, options: list[str], mode: str, side_px: int) -> None:
    output = tile.with_name("overlay.png")
    run = runner.invoke(app, ["explain", str(tile), "-o", str(output), *options])
    assert run.exit_code == 0, run.output
    with Image.open(output) as image:
        assert (image.format, image.mode) == ("PNG", mode)
        n_tiles = 2 if "side-by-side" in options else 1
        assert min(image.width / n_tiles, image.height) >= side_px
    assert f"{tile}: non_tumor (0.978); {output}" in run.output
    assert "For review" not in run.output


def test_explain_runs_the_model_once(tile: Path, runtime: FakeRuntime) -> None:
    runner.invoke(app, ["explain", str(tile), "-o", str(tile.with_name("overlay.png"))])
    assert runtime.n_tiles == N_CHECKS + 1


def test_explain_reports_reasons_for_review(tile: Path, runtime: FakeRuntime) -> None:
    tile.write_bytes(encode_tile(draw_tile("viable_tumor", 256, 0)[:90]))
    run = runner.invoke(app, ["explain", str(tile), "-o", str(tile.with_name("overlay.png"))])
    assert run.exit_code == 0, run.output
    assert "For review: not_square, too_small" in run.output
    assert runtime.n_tiles == N_CHECKS + 1


def test_nothing_to_draw_is_reported_without_traceback(tile: Path, runtime: FakeRuntime) -> None:
    output = tile.with_name("overlay.png")
    for embedding, cam, sentence in (
        (embedding_at(0.9), runtime.cam, "does not look like those"),
        (runtime.embedding, np.zeros_like(runtime.cam), "the tile holds no evidence for"),
    ):
        runtime.embedding, runtime.cam = embedding, cam
        run = runner.invoke(app, ["explain", str(tile), "-o", str(output)])
        assert run.exit_code == 1, run.output
        assert sentence in run.stderr
        assert "Traceback" not in run.output
        assert not output.exists()


@pytest.mark.usefixtures("runtime")
def test_tile_is_not_overwritten(tile: Path) -> None:
    run = runner.invoke(app, ["explain", str(tile), "-o", str(tile)])
    assert run.exit_code == 2
    assert "is the tile itself" in run.stderr
    assert tile.read_bytes() == TISSUE


@pytest.mark.usefixtures("runtime")
def test_mistakes_are_reported_without_traceback(tile: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"not an image")
    with (tmp_path / "slide.tif").open("wb") as stream:
        stream.truncate(200 * 1024**3)  # sparse, so it takes no disk space
    output = str(tmp_path / "overlay.png")
    nowhere = str(tmp_path / "missing" / "overlay.png")
    for arguments, exit_code, sentence in (
        ([str(tmp_path / "nowhere"), "-o", output], 2, "No such file or folder"),
        ([str(tmp_path), "-o", output], 2, "name a folder"),
        ([str(tmp_path / "bad.png"), "-o", output], 1, "not an image"),
        ([str(tmp_path / "slide.tif"), "-o", output], 1, "larger than"),
        ([str(tile), "-o", nowhere], 2, "cannot be written"),
        ([str(tile), "-o", output, "--label", "osteoma"], 2, "no label 'osteoma'"),
        ([str(tile), "-o", output, "--size-px", "63"], 2, "--size-px"),
        ([str(tile), "-o", output, "--size-px", "2049"], 2, "--size-px"),
        ([str(tile), "-o", output, "--opacity", "1.1"], 2, "--opacity"),
        ([str(tile), "-o", output, "--opacity", "nan"], 2, "--opacity"),
        ([str(tile)], 2, "--output"),
    ):
        run = runner.invoke(app, ["explain", *arguments])
        assert (run.exit_code, sentence in " ".join(run.stderr.split())) == (exit_code, True), (
            run.output
        )
        assert not Path(output).exists()
        assert "Traceback" not in run.output


def test_released_bundle_explains_a_golden_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(RELEASED_MODELS))
    tile = find_bundle(RELEASED_MODELS, "osteo-mobilenetv2") / "golden/drawn_non_viable_tumor.png"
    output = tmp_path / "overlay.png"
    run = runner.invoke(app, ["explain", str(tile), "-o", str(output)])
    assert run.exit_code == 0, run.output
    with Image.open(output) as image:
        drawn = np.asarray(image)[:512, :512]
    assert (drawn != np.asarray(Image.open(tile).convert("RGB").resize((512, 512)))).any()


def test_missing_reference_is_reported_without_traceback(
    tile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (build_bundle(tmp_path / "models", record=a_record()) / REFERENCE_NAME).unlink()
    monkeypatch.setenv("OSTEO_MODELS_DIR", str(tmp_path / "models"))
    run = runner.invoke(app, ["explain", str(tile), "-o", str(tile.with_name("overlay.png"))])
    assert run.exit_code == 2
    assert f"{REFERENCE_NAME} is missing" in " ".join(run.stderr.split())
