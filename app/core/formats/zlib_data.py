"""Whether zlib data decode as they were written (RFC 1950).

Pillow and libtiff stop once they have all pixels. Damaged data reach that point too, and then the
checksum behind them stays unread.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final

_BLOCK_BYTES: Final = 1024**2


def inflated_bytes(parts: Iterable[bytes | memoryview], max_bytes: int) -> int:
    """How many bytes zlib data decode to; about `max_bytes` if there are more.

    Args:
        parts: the data.
        max_bytes: where to stop.

    Raises:
        zlib.error: damaged data, or another checksum than that of what they decode to. Data that
            end early are no error.
    """
    inflater, n_bytes = zlib.decompressobj(), 0
    for part in parts:
        rest: bytes | memoryview = part
        while n_bytes <= max_bytes and not inflater.eof:
            block = inflater.decompress(rest, _BLOCK_BYTES)
            n_bytes += len(block)
            rest = inflater.unconsumed_tail
            if not rest and len(block) < _BLOCK_BYTES:
                break
    return n_bytes


def require_checksum(stream: bytes, checksum: int, max_bytes: int) -> None:
    """Check what was decoded against the checksum at the end of the data.

    Args:
        stream: zlib data, which bytes may follow.
        checksum: Adler-32 of what was decoded, perhaps not to the end.
        max_bytes: that the data may decode to.

    Raises:
        zlib.error: the data are damaged, or decode to more.
    """
    if int.from_bytes(stream[-4:]) == checksum:
        return
    if inflated_bytes([stream], max_bytes) > max_bytes:
        raise zlib.error(f"more than {max_bytes} bytes")
