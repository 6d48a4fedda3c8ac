from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from app.cli.commands import app
from training.data.drawn_tiles import draw_tile, encode_tile

TISSUE = encode_tile(draw_tile("viable_tumor", 256, 0))


pytestmark = pytest.mark.usefixtures("runtime")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with tiles whose names differ only by folder or by suffix."""
    here = tmp_path / "here"
    for name in ("a/1.jpg", "a/1.png", "b/1.jpg", "t.png"):
        (here / name).parent.mkdir(parents=True, exist_ok=True)
        (here / name).write_bytes(TISSUE)
    monkeypatch.chdir(here)
    return here


def explain(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["explain", *arguments])


def files_below(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        *((f"x{suffix}", "JPEG") for suffix in (".jpg", ".jpeg", ".JPG", ".jpe", ".jfif")),
        *((f"x{suffix}", "PNG") for suffix in (".png", ".PNG")),
    ],
)
def test_suffix_chooses_the_format(folder: Path, name: str, format_: str) -> None:
    assert explain("t.png", "-o", name).exit_code == 0
    with Image.open(folder / name) as image:
        image.load()
        assert (image.format, image.mode) == (format_, "RGB")
        assert image.height > 512, "the tile and the caption beneath it"


@pytest.mark.parametrize("name", ["x.bmp", "x.tif", "x.webp", "x.pdf", "x", "-", "x.png.txt"])
def test_other_suffixes_are_refused_with_the_known_ones(folder: Path, name: str) -> None:
    run = explain("t.png", "-o", name)
    assert run.exit_code == 2
    assert ".png, .jpg, .jpeg" in run.stderr
    assert not (folder / name).exists()


def test_transparent_layer_is_refused_as_jpeg(folder: Path) -> None:
    run = explain("t.png", "-o", "x.jpg", "--picture", "heat")
    assert (run.exit_code, "no transparency" in run.stderr) == (2, True)
    assert not (folder / "x.jpg").exists()


@pytest.mark.parametrize(
    ("named", "pictures"),
    [
        (["."], {"a/1.jpg.png", "a/1.png.png", "b/1.jpg.png", "t.png.png"}),
        (["a", "b"], {"a/1.jpg.png", "a/1.png.png", "b/1.jpg.png"}),
        (["a"], {"1.jpg.png", "1.png.png"}),
        (["a/1.jpg", "b/1.jpg"], {"a/1.jpg.png", "b/1.jpg.png"}),
        (["a/1.jpg", "a/1.jpg", "a/../t.png"], {"a/1.jpg.png", "t.png.png"}),
    ],
)
def test_several_tiles_go_into_a_folder_under_their_names(
    folder: Path, named: list[str], pictures: set[str]
) -> None:
    run = explain(*named, "-o", "new/maps")
    assert run.exit_code == 0, run.output
    assert files_below(folder / "new/maps") == pictures
    assert len(run.stdout.splitlines()) == len(pictures)


def test_one_tile_goes_into_a_folder_that_exists_or_ends_with_a_slash(folder: Path) -> None:
    (folder / "old").mkdir()
    assert explain("t.png", "-o", "old").exit_code == 0
    assert explain("t.png", "-o", "new/").exit_code == 0
    assert files_below(folder / "old") == files_below(folder / "new") == {"t.png.png"}


def test_maps_of_an_earlier_run_are_not_explained_again(folder: Path) -> None:
    assert explain(".", "-o", "maps").exit_code == 0
    before = files_below(folder)
    assert explain(".", "-o", "maps").exit_code == 0
    assert files_below(folder) == before


def test_no_tile_is_overwritten(folder: Path) -> None:
    (folder / "a/1.jpg.png").hardlink_to(folder / "a/1.png")
    (folder / "b/x.png").symlink_to("../t.png")
    for arguments, sentence in (
        (["a/1.jpg", "a/1.png", "-o", "a/"], "is the tile itself"),
        (["t.png", "-o", "b/x.png"], "is the tile itself"),
        (["t.png", "-o", "t.png"], "is the tile itself"),
        ([".", "-o", "."], "is searched for tiles"),
        (["a", "-o", "b/../a"], "is searched for tiles"),
    ):
        run = explain(*arguments)
        assert (run.exit_code, sentence in run.stderr) == (2, True), (arguments, run.output)
    assert all((folder / name).read_bytes() == TISSUE for name in ("a/1.png", "t.png"))


def test_output_that_cannot_be_meant_is_refused(folder: Path) -> None:
    (folder / "note").write_text("")
    for arguments, sentence in (
        (["a", "-o", "x.png"], "name a folder"),
        (["a/1.jpg", "b/1.jpg", "-o", "x.jpg"], "name a folder"),
        (["a", "-o", "note"], "is not a folder"),
        (["a", "-o", ""], "empty output path"),
        (["", "-o", "x.png"], "empty path"),
        (["t.png", "-o", "missing/x.png"], "missing is not a folder"),
    ):
        run = explain(*arguments)
        assert (run.exit_code, sentence in run.stderr) == (2, True), (arguments, run.output)


def test_tiles_that_fail_do_not_stop_the_others(folder: Path) -> None:
    (folder / "a/0.jpg").write_bytes(b"not an image")
    (folder / "a/long").mkdir()
    long = "x" * 249 + ".png"  # with .png after it, longer than a name may be
    (folder / "a/long" / long).write_bytes(TISSUE)
    (folder / "a/gone.jpg").symlink_to("nowhere")
    run = explain("a", "-o", "maps")
    assert run.exit_code == 1, run.output
    assert files_below(folder / "maps") == {"1.jpg.png", "1.png.png"}
    for sentence in ("not an image", "File name too long", "leads nowhere", "3 of 5 files and fol"):
        assert sentence in run.stderr


def test_names_are_printed_on_one_line(folder: Path) -> None:
    (folder / "a/\x1b[31m\n.png").write_bytes(TISSUE)
    run = explain("a", "-o", "maps")
    assert len(run.stdout.splitlines()) == 3
    assert "\x1b" not in run.stdout
