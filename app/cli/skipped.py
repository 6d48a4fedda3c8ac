"""What a search leaves out: counted by kind, and named in one sentence."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Final

_HINTS: Final = {
    # The formats of slide scanners and of OpenSlide that are not plain TIFF.
    "whole slides: cut tiles from them": ".svs .svslide .ndpi .ndpis .scn .mrxs .bif .vms .vmu .czi"
    " .zvi .lif .vsi .ets .isyntax .qptiff .nd2 .oir .sdpc .kfb .tmap .mds .afi .dcm .dicom",
    "not read: convert to PNG": ".apng .bmp .dib .gif .heic .heif .avif .jp2 .j2k .j2c .jpf .jpx"
    " .jpm .jxl .jxr .jls .mpo .psd .dng .nef .cr2 .cr3 .arw .raw .pnm .pbm .pgm .ppm .tga .pcx"
    " .ico .svg .pdf .exr .npy",
    "archives: unpack them": ".zip .tar .tgz .gz .bz2 .xz .zst .7z .rar",
}
"""What to do, and the suffixes for which it helps."""
_SYSTEM_FILES: Final = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r"})
"""Files that Windows and macOS leave in folders. Nobody misses them."""
_ORDINARY_SUFFIX: Final = re.compile(r"\.[a-z0-9]{0,2}[a-z][a-z0-9]{0,6}")
_MAX_NAMED: Final = 8

COMPANION: Final = "macOS companion"
HIDDEN_FOLDER: Final = "hidden folder"
ENCLOSING_FOLDER: Final = "link to an enclosing folder"
DEAD_LINK: Final = "dead link"
SPECIAL_FILE: Final = "pipe, socket or device"
_OTHER: Final = "other file"
_PLURALS: Final = {
    ENCLOSING_FOLDER: "links to enclosing folders",
    SPECIAL_FILE: "pipes, sockets or devices",
}


@dataclass(slots=True)
class Skipped:
    """Counts what was left out, by suffix or by kind."""

    counts: Counter[str] = field(default_factory=Counter)

    def add(self, kind: str) -> None:
        """Count one of the kinds above."""
        self.counts[kind] += 1

    def add_file(self, name: str) -> None:
        """Count a file that has no suffix of a tile, unless nobody would expect it to count."""
        suffix = PurePath(name).suffix.lower()
        if name.lower() in _SYSTEM_FILES or (name.startswith(".") and not suffix):
            return
        self.counts[suffix if _ORDINARY_SUFFIX.fullmatch(suffix) else _OTHER] += 1

    def sentence(self) -> str | None:
        """Such as "Skipped 2 .svs (whole slides: cut tiles from them), 1 .txt."."""
        if not self.counts:
            return None
        # Formats that may hold tiles come first, then what is most frequent.
        ordered = sorted(self.counts, key=lambda kind: (not _hint(kind), -self.counts[kind], kind))
        named, others = ordered[:_MAX_NAMED], ordered[_MAX_NAMED:]
        parts = [_named(kind, self.counts[kind]) for kind in named]
        if others:
            parts.append(f"{sum(self.counts[kind] for kind in others)} of other kinds")
        return f"Skipped {', '.join(parts)}."


def _hint(kind: str) -> str:
    return next((hint for hint, suffixes in _HINTS.items() if kind in suffixes.split()), "")


def _named(kind: str, number: int) -> str:
    if kind.startswith("."):
        return f"{number} {kind} ({_hint(kind)})" if _hint(kind) else f"{number} {kind}"
    noun = _PLURALS.get(kind, f"{kind}s") if number > 1 else kind
    return f"{number} {noun} (._*)" if kind == COMPANION else f"{number} {noun}"
