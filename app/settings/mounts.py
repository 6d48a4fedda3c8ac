"""The setting that lists folders with slides: `name=/folder`, separated by commas."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")


def parse_mounts(text: str) -> dict[str, Path]:
    """The folders by name; none if the text is empty.

    Raises:
        ValueError: a part is not `name=/folder`, or a name comes twice; the sentence shows it.
    """
    mounts: dict[str, Path] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, separator, folder = map(str.strip, part.partition("="))
        if not separator or not _NAME.fullmatch(name) or not Path(folder).is_absolute():
            raise ValueError(
                f"{part!r} is not a mount such as archive=/mnt/archive, with a name of small "
                "letters, digits, - and _ and an absolute path"
            )
        if name in mounts:
            raise ValueError(f"the mount {name!r} is named twice")
        mounts[name] = Path(folder)
    return mounts
