"""`SHA256SUMS`: the hash of every file, as `sha256sum` writes and checks it.

A mirror publishes this file, and a fetch writes one into its folder. So `sha256sum --check
SHA256SUMS` checks a fetched folder, and any web server can serve the folder as a mirror.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from training.errors import DataError

SUMS_NAME: Final = "SHA256SUMS"
_LINE: Final = re.compile(r"(?P<sha256>[0-9a-fA-F]{64}) [ *](?:\./)?(?P<path>.+)")


def parse_sums(text: str, where: str) -> dict[str, str]:
    """Parse a hash list to SHA-256 by path (relative, with `/`).

    Raises:
        DataError: a line is not a hash and a path, or a path has two hashes.
    """
    sums: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = _LINE.fullmatch(line.rstrip())
        if match is None:
            raise DataError(f"{where}, line {number} is not HASH  PATH, as sha256sum writes it.")
        sha256 = match["sha256"].lower()
        if sums.setdefault(match["path"], sha256) != sha256:
            raise DataError(f"{where}, line {number}: {match['path']} has two hashes.")
    return sums


def read_sums(path: Path) -> dict[str, str]:
    """Read a hash list.

    Raises:
        DataError: it cannot be read, or is not a hash list.
    """
    try:
        return parse_sums(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text.") from error


def format_sums(sums: Mapping[str, str]) -> str:
    """The text of a hash list, sorted by path."""
    return "".join(f"{sums[path]}  {path}\n" for path in sorted(sums))
