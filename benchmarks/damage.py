"""Which damage of a JPEG is seen; the table of docs/trust.md.

.venv/bin/python -m benchmarks.damage TILE.jpg [TILE.jpg ...]
"""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.core.errors import TileError
from app.core.tile import decode_tile, decode_tile_and_header
from training.console.markdown import markdown_table

Damage = Callable[[bytes, random.Random], bytes]
_REPEATS: Final = 3
"""Random places in each tile."""
_HEAD_BYTES: Final = 1024
"""Left intact: damage of the header refuses the file."""


def _place(jpeg: bytes, places: random.Random, n_bytes: int = 1) -> int:
    return places.randrange(_HEAD_BYTES, len(jpeg) - n_bytes - 2)


def _zeros(n_bytes: int) -> Damage:
    def damage(jpeg: bytes, places: random.Random) -> bytes:
        at = _place(jpeg, places, n_bytes)
        return jpeg[:at] + bytes(n_bytes) + jpeg[at + n_bytes :]

    return damage


def _lost(n_bytes: int) -> Damage:
    def damage(jpeg: bytes, places: random.Random) -> bytes:
        at = _place(jpeg, places, n_bytes)
        return jpeg[:at] + jpeg[at + n_bytes :]

    return damage


def _flipped_bit(jpeg: bytes, places: random.Random) -> bytes:
    at = _place(jpeg, places)
    return jpeg[:at] + bytes([jpeg[at] ^ 1 << places.randrange(8)]) + jpeg[at + 1 :]


def _text_mode(jpeg: bytes, _places: random.Random) -> bytes:
    return jpeg.replace(b"\n", b"\r\n")


def _cut(share: float) -> Damage:
    return lambda jpeg, _places: jpeg[: int(share * len(jpeg))]


def _without_end(jpeg: bytes, _places: random.Random) -> bytes:
    return jpeg[:-2]


DAMAGES: Final[dict[str, Damage]] = {
    "64 bytes of zeros": _zeros(64),
    "512 bytes of zeros": _zeros(512),
    "4 kB of zeros": _zeros(4096),
    "16 kB of zeros": _zeros(16384),
    "4 kB lost": _lost(4096),
    "one byte lost": _lost(1),
    "one bit flipped": _flipped_bit,
    "line ends rewritten (text mode)": _text_mode,
    "cut at 50 %": _cut(0.5),
    "cut at 90 %": _cut(0.9),
    "cut at 99 %": _cut(0.99),
    "end marker missing": _without_end,
}


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`change` is the mean change of the tile in grey levels; NaN if it was refused."""

    is_seen: bool
    change: float


def main(files: list[str]) -> None:
    """Damage every tile in every way, and print the shares that were seen."""
    whole = [Path(file).read_bytes() for file in files]
    encodings: dict[str, list[bytes]] = {
        "as they are": whole,
        "restart markers": [_saved_again(jpeg, restart_marker_rows=1) for jpeg in whole],
        "progressive": [_saved_again(jpeg, progressive=True) for jpeg in whole],
    }
    rows = [
        [name, *(_describe(list(_outcomes(tiles, damage))) for tiles in encodings.values())]
        for name, damage in DAMAGES.items()
    ]
    sys.stdout.write(markdown_table(["damage", *encodings], rows) + "\n")


def _saved_again(jpeg: bytes, **options: int) -> bytes:
    """The same coefficients but for rounding, as libjpeg keeps the tables and the subsampling."""
    stream = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.save(stream, "JPEG", quality="keep", **options)
    return stream.getvalue()


def _outcomes(tiles: list[bytes], damage: Damage) -> Iterator[_Outcome]:
    for number, jpeg in enumerate(tiles):
        before = decode_tile(jpeg)
        for repeat in range(_REPEATS):
            damaged = damage(jpeg, random.Random(f"{number} {repeat}"))  # noqa: S311 - places
            yield _outcome(damaged, before)


def _outcome(damaged: bytes, before: NDArray[np.uint8]) -> _Outcome:
    try:
        tile, header = decode_tile_and_header(damaged)
    except TileError:
        return _Outcome(is_seen=True, change=float("nan"))
    change = np.abs(tile.astype(int) - before).mean()
    return _Outcome(header.is_damaged, float(change))


def _describe(outcomes: list[_Outcome]) -> str:
    """Share seen of the tiles that changed, and of those that changed by more than a grey level."""
    changed = [outcome for outcome in outcomes if outcome.is_seen or outcome.change > 0]
    if not changed:
        return "nothing changes"
    much = [outcome for outcome in changed if outcome.is_seen or outcome.change > 1]
    shares = [sum(o.is_seen for o in some) / len(some) for some in (changed, much or changed)]
    return "{:.0%} ({:.0%})".format(*shares).replace("%", " %")


if __name__ == "__main__":
    main(sys.argv[1:])
