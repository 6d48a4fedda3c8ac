"""Relative links of the documentation lead to files and headings that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY
from tests.contract.pages import CURRENT_PAGES, PAGES


def anchors_of(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.M | re.S)
    anchors: dict[str, int] = {}
    for heading in re.findall(r"^#+ (.+)$", text, re.M):
        slug = re.sub(r"[^\w\- ]", "", re.sub(r"\]\([^)]*\)", "", heading)).strip().lower()
        slug = slug.replace(" ", "-")
        anchors[slug] = anchors.get(slug, -1) + 1
        if anchors[slug]:
            anchors[f"{slug}-{anchors[slug]}"] = 0
    return set(anchors)


@pytest.mark.parametrize("page", [*PAGES, "CHANGELOG.md"])
def test_every_relative_link_leads_somewhere(page: str) -> None:
    text = re.sub(r"^```.*?^```", "", (REPOSITORY / page).read_text(), flags=re.M | re.S)
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / page).parent / name if name else REPOSITORY / page
        assert target.exists(), f"{link}: no such file"
        if anchor:
            assert anchor in anchors_of(target), f"{link}: no such heading"


@pytest.mark.parametrize("index", ["docs/README.md", "docs/decisions/README.md"])
def test_every_page_is_in_the_index_of_its_folder(index: str) -> None:
    linked = set(re.findall(r"\]\(([\w.-]+\.md)\)", (REPOSITORY / index).read_text()))
    pages = {page.name for page in (REPOSITORY / index).parent.glob("*.md")} - {"README.md"}
    assert pages <= linked


@pytest.mark.parametrize("page", CURRENT_PAGES)
def test_every_source_file_that_a_page_names_exists(page: str) -> None:
    text = (REPOSITORY / page).read_text()
    for name in re.findall(r"`((?:app|training|tests|benchmarks|docs|deploy)/[\w./-]+)`", text):
        assert (REPOSITORY / name).exists(), name


def test_anchors_of_follows_github(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# `queue-full` (429)\n## What it leaves\n## What it leaves\n")
    assert anchors_of(page) == {"queue-full-429", "what-it-leaves", "what-it-leaves-1"}
