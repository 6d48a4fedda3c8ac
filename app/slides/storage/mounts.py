"""Slides in named folders, which callers name by mount and relative path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from app.core.slide_store_errors import SlidePathError


def resolve(mounts: Mapping[str, Path], mount: str, relative: str) -> Path:
    """The file or folder that a caller names.

    Args:
        mounts: folders by name.
        mount: name of one of them.
        relative: path beneath it. A symbolic link may lead anywhere beneath the same mount.

    Raises:
        SlidePathError: there is no such mount or path, or the path leads out of the mount.
    """
    if mount not in mounts:
        known = f"The mounts are {', '.join(sorted(mounts))}." if mounts else "None is set."
        raise SlidePathError(f"There is no mount of this name. {known}")
    # The same sentence for a path outside and for one that does not exist: the answer must not
    # tell which files lie elsewhere on the machine.
    missing = SlidePathError(
        f"No slide lies at this path beneath the mount {mount}. Give a relative path, such as "
        "2026/biopsy.svs."
    )
    if "\0" in relative or Path(relative).is_absolute():
        raise missing
    try:
        folder = mounts[mount].resolve(strict=True)
        path = (folder / relative).resolve(strict=True)
    except (OSError, RuntimeError, ValueError):  # RuntimeError: a loop of symbolic links
        raise missing from None
    if not path.is_relative_to(folder) or path == folder or not (path.is_file() or path.is_dir()):
        raise missing
    return path
