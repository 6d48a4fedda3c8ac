from __future__ import annotations

import pytest

from app.cli.skipped import COMPANION, HIDDEN_FOLDER, SPECIAL_FILE, Skipped


def sentence_of(*names: str, kinds: tuple[str, ...] = ()) -> str | None:
    skipped = Skipped()
    for name in names:
        skipped.add_file(name)
    for kind in kinds:
        skipped.add(kind)
    return skipped.sentence()


@pytest.mark.parametrize(
    "suffix", ["svs", "ndpi", "scn", "mrxs", "bif", "czi", "dcm", "SVS", "Vsi"]
)
def test_skipped_names_slides_with_what_to_do(suffix: str) -> None:
    expected = f"Skipped 1 .{suffix.lower()} (whole slides: cut tiles from them)."
    assert sentence_of(f"case.{suffix}") == expected


@pytest.mark.parametrize("suffix", ["bmp", "gif", "heic", "jp2", "avif", "jxl", "BMP", "psd"])
def test_skipped_names_other_pictures_with_what_to_do(suffix: str) -> None:
    expected = f"Skipped 1 .{suffix.lower()} (not read: convert to PNG)."
    assert sentence_of(f"1.{suffix}") == expected


def test_skipped_counts_by_suffix_and_kind() -> None:
    names = ("a.txt", "b.svs", "c.SVS", "d.xml", "e.txt", "README")
    assert sentence_of(*names, kinds=(COMPANION, COMPANION)) == (
        "Skipped 2 .svs (whole slides: cut tiles from them), 2 .txt, 2 macOS companions (._*), "
        "1 .xml, 1 other file."
    )
    assert sentence_of(kinds=(COMPANION,)) == "Skipped 1 macOS companion (._*)."
    assert sentence_of(kinds=(HIDDEN_FOLDER, HIDDEN_FOLDER)) == "Skipped 2 hidden folders."
    assert sentence_of(kinds=(SPECIAL_FILE,)) == "Skipped 1 pipe, socket or device."


@pytest.mark.parametrize("name", ["Thumbs.db", ".DS_Store", "desktop.ini", ".gitignore", "Icon\r"])
def test_skipped_is_silent_about_files_of_the_system(name: str) -> None:
    assert sentence_of(name) is None


def test_skipped_stays_one_short_line() -> None:
    many = [f"tile.{letter}{other}" for letter in "abcdefgh" for other in "abcdefgh"]
    odd = [f"tile.{number}" for number in range(100)] + ["x.\x1b[31m", "y." + "z" * 200]
    sentence = sentence_of("slide.svs", *many, *odd)
    assert sentence is not None
    assert sentence.startswith("Skipped 1 .svs")
    assert "102 other files" in sentence
    assert sentence.isprintable()
    assert len(sentence) < 200
