"""A page of the released model, read as a browser reads it."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from app.bundle import find_bundle
from app.core.manifest import MANIFEST_NAME, read_manifest
from app.inference.results import RESEARCH_USE
from tests.bundles import MODEL_NAME, plain_tile
from tests.cli.program import command, run
from tests.cli.report.page_reader import Page
from tests.conftest import RELEASED_MODELS
from training.data.drawn_tiles import draw_tile, encode_tile

HOSTILE = (
    "<script>alert(1)<",
    "\" onerror='x' $folder & &amp;.png",
    "<!-- tiles -->.png",
    "<style>.png",
)
SECRET = "patient-17"
ONE_MODEL = {"OSTEO_WORKERS": "1"}  # each further one is loaded and checked


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles of any priority, with names that are HTML, and files without an answer."""
    root = tmp_path_factory.mktemp("work")
    tiles = root / "case"
    (tiles / HOSTILE[0]).mkdir(parents=True)
    labels = ("non_tumor", "viable_tumor", "non_viable_tumor", "non_tumor")
    for seed, (name, label) in enumerate(zip((*HOSTILE[1:], "plain.png"), labels, strict=True)):
        (tiles / name).write_bytes(encode_tile(draw_tile(label, 256, seed)))
    (tiles / HOSTILE[0] / "script>.png").write_bytes(
        encode_tile(draw_tile("non_viable_tumor", 320, 0)[:200])
    )
    Path(os.fsdecode(os.fsencode(tiles) + b"/caf\xe9.png")).write_bytes(
        plain_tile((255, 255, 255), 64)
    )
    (tiles / "broken.png").write_bytes(b"<b>no image</b>")
    (tiles / "dead.png").symlink_to(f"/nowhere/{SECRET}<i>.png")
    (tiles / "slide.svs").write_bytes(b"")
    return root


@pytest.fixture(scope="module")
def report(folder: Path) -> subprocess.CompletedProcess[bytes]:
    return run(command("report", "case", "-o", "report.html"), folder, **ONE_MODEL)


@pytest.fixture(scope="module")
def page(folder: Path, report: subprocess.CompletedProcess[bytes]) -> Page:
    assert report.returncode == 1, "some files have no answer"
    return Page(folder / "report.html")


def rows_of(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline="")))


def printed(folder: Path, *options: str) -> str:
    return run(command("classify", "case", *options), folder, **ONE_MODEL).stdout.decode("utf-8")


def test_page_refers_to_nothing_outside(page: Page) -> None:
    assert page.references
    assert all(reference.startswith("data:image/webp;base64,") for reference in page.references)
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.elements}
    assert not any("url(" in text or "@import" in text for text in page.text_of("style"))
    assert all("url(" not in attributes.get("style", "") for _, attributes in page.elements)


def test_page_forbids_browsers_to_fetch_or_run_anything(page: Page) -> None:
    [policy] = [m["content"] for m in page.of("meta") if "http-equiv" in m]
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_names_are_text_and_never_markup(page: Page) -> None:
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "i>"})
    headings = page.text_of("h3")
    assert {f"{HOSTILE[0]}/script>.png", *HOSTILE[1:], "plain.png", "caf\\xe9.png"} == set(headings)
    assert f"/nowhere/{SECRET}<i>.png does not exist" in page.text


def test_tiles_are_in_order_of_need(folder: Path, page: Page) -> None:
    ordered = rows_of(printed(folder, "-f", "csv", "--sort", "review"))
    expected = [row["path"].removeprefix("case/") for row in ordered if not row["error"]]
    priorities = [float(row["review_priority"]) for row in ordered if not row["error"]]
    assert priorities == sorted(priorities, reverse=True)
    assert len(set(priorities)) > 2
    assert page.text_of("h3") == expected


def test_files_without_an_answer_are_listed_with_the_reason(page: Page) -> None:
    assert "2 of 8: broken.png: The content is not an image" in page.text
    assert "dead.png: The link leads nowhere" in page.text
    assert "Skipped 1 .svs" in page.text


@pytest.mark.usefixtures("report")
def test_csv_is_that_of_classify(folder: Path) -> None:
    assert (folder / "report.csv").read_text("utf-8") == printed(folder, "-f", "csv")


@pytest.mark.usefixtures("report")
def test_json_is_that_of_classify(folder: Path) -> None:
    def without_timing(text: str) -> list[dict[str, Any]]:
        return [{**one, "timing": None} for one in json.loads(text)]

    ours = without_timing((folder / "report.json").read_text("utf-8"))
    assert ours == without_timing(printed(folder, "-f", "json"))


def test_pictures_are_bounded_and_described(page: Page) -> None:
    pictures = [image for image in page.of("img") if image.get("loading") == "lazy"]
    n_tiles = len(page.text_of("h3"))
    assert n_tiles < len(pictures) < 2 * n_tiles, "the blank tile has no evidence map"
    for image in pictures:
        content = base64.b64decode(image["src"].partition(",")[2], validate=True)
        with Image.open(io.BytesIO(content)) as picture:
            assert (picture.format, picture.size) == ("WEBP", (256, 256))
        assert image["alt"]


def test_overlays_differ_from_their_tiles(page: Page) -> None:
    sources = [image["src"] for image in page.of("img")]
    assert len(set(sources)) == len(sources)


def test_head_names_the_model_its_splits_and_the_notice(page: Page) -> None:
    bundle = find_bundle(RELEASED_MODELS, MODEL_NAME)
    manifest, sha256 = read_manifest(bundle / MANIFEST_NAME)
    assert page.text.count(RESEARCH_USE) == 2
    assert sha256 in page.text_of("code")
    assert f"{manifest.model_name}, version {manifest.model_version}" in page.text
    assert {split.split for split in manifest.metrics} == {"random", "slide", "patient"}
    cells = page.text_of("td")
    for split in manifest.metrics:
        assert split.split in page.text_of("th")
        assert f"{split.accuracy:.0%}" in cells
        assert f"{split.accuracy_low:.0%} to {split.accuracy_high:.0%}" in cells


def test_head_counts_labels_and_reasons(folder: Path, page: Page) -> None:
    rows = [row for row in rows_of((folder / "report.csv").read_text("utf-8")) if row["prediction"]]
    counts = [sum(row["prediction"] == label for row in rows) for label in LABEL_IDS]
    assert [f"{n} ({n / len(rows):.0%})" for n in counts] == [
        cell for cell in page.text_of("td") if cell.endswith("%)")
    ]
    n_for_review = sum(bool(row["review"]) for row in rows)
    assert f"{n_for_review} of {len(rows)} tiles need a look" in page.text
    n_blank = sum("blank" in row["review"].split() for row in rows)
    assert n_blank == 1
    assert f"{n_blank}: The tile is nearly empty" in page.text
    assert "not the necrosis of a slide" in page.text


LABEL_IDS = ("non_tumor", "non_viable_tumor", "viable_tumor")


def test_headings_skip_no_level(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.elements if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_ids_are_unique_and_references_to_them_exist(page: Page) -> None:
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    named = {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a}
    assert named <= set(ids)


def test_hidden_names_are_nowhere_on_the_page(folder: Path, page: Page) -> None:
    done = run(command("report", "case", "-o", "hidden.html", "--hide-names"), folder, **ONE_MODEL)
    assert done.returncode == 1
    content = (folder / "hidden.html").read_text("utf-8")
    for name in ("Tiles of", "plain.png", "broken.png", "dead.png", "\\xe9", "alert(", SECRET):
        assert name not in content, name
    rows = rows_of((folder / "hidden.csv").read_text("utf-8"))
    titles = dict(zip(page.text_of("h3"), Page(folder / "hidden.html").text_of("h3"), strict=True))
    for number, row in enumerate(rows, start=1):
        if not row["error"]:
            assert titles[row["path"].removeprefix("case/")] == f"Tile {number}"
