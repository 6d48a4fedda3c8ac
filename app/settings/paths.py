"""Settings that are the path of a file or folder."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def holds_content(text: str) -> bool:
    """Whether a value is the content of a file, such as a private key, instead of its path."""
    return "\n" in text or "-----BEGIN" in text


def _require_path(path: Path) -> Path:
    if holds_content(str(path)):
        raise ValueError("give the path of the file, not its content")
    return path


FilePath = Annotated[Path, AfterValidator(_require_path)]
"""A path; the content of a file in its place is refused and never shown."""
