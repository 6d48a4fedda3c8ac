"""The pages of documentation that the contract tests read."""

from __future__ import annotations

import re
import textwrap
from typing import Final

from tests.conftest import REPOSITORY

PAGES: Final = [
    str(page.relative_to(REPOSITORY))
    for page in (
        REPOSITORY / "README.md",
        REPOSITORY / "CONTRIBUTING.md",
        *sorted(REPOSITORY.glob("docs/**/*.md")),
    )
]
CURRENT_PAGES: Final = [page for page in PAGES if not re.search(r"decisions/\d", page)]
"""Without the decision records, which keep the commands and file names of their time."""


def code_blocks(page: str, language: str) -> list[str]:
    """The blocks of code on a page, without indentation; `language` follows the opening fence."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    found = re.findall(r"^ *```([a-z]*)\n(.*?)^ *```$", text, re.M | re.S)
    return [textwrap.dedent(code) for named, code in found if named == language]
