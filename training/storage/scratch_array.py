"""Large arrays on disk, so that memory does not grow with the number of tiles."""

from __future__ import annotations

import math
import os
import tempfile
from typing import Any, Final

import numpy as np
from numpy.typing import DTypeLike, NDArray

from training.errors import CacheError

IN_MEMORY_BYTES: Final = 2**28
"""An array of at most this size stays in memory."""


def allocate(
    shape: tuple[int, ...], dtype: DTypeLike, in_memory_bytes: int | None = None
) -> NDArray[Any]:
    """An uninitialised array: in memory if it is small, else mapped from a scratch file.

    The file is in the system's temporary folder (`TMPDIR` names another) and has no name, so it
    disappears with the array, even after `kill -9`. Its blocks are allocated at once, since a
    mapped file that runs out of disk ends the process without an error message.

    Raises:
        CacheError: the disk has no room.
    """
    n_bytes = math.prod(shape) * np.dtype(dtype).itemsize
    limit = IN_MEMORY_BYTES if in_memory_bytes is None else in_memory_bytes
    if n_bytes <= limit:
        return np.empty(shape, dtype)
    with tempfile.TemporaryFile(prefix="osteo-train-") as stream:
        try:
            os.posix_fallocate(stream.fileno(), 0, n_bytes)
        except OSError as error:
            raise CacheError(
                f"{n_bytes / 2**30:.1f} GiB of features do not fit in {tempfile.gettempdir()} "
                f"({error.strerror}). Make room, or set TMPDIR to a folder on another disk."
            ) from error
        return np.memmap(stream, dtype=dtype, mode="r+", shape=shape)
