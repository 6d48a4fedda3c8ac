"""The program of a decode process: imports little, so that it starts fast."""

from __future__ import annotations

import faulthandler
import os
import pickle
import resource
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from PIL import Image, TiffImagePlugin, WebPImagePlugin  # noqa: F401 - registers the formats

from app.core.decoder_warnings import filter_decoder_warnings
from app.core.errors import TileError
from app.core.tile import Decoded, TileLimits, decode_tile_and_header
from app.core.tile_errors import DecodeBudgetError

_NICENESS: Final = 10
_STATM: Final = Path("/proc/self/statm")
_MAX_KEPT_SHARE: Final = 1 / 8
"""A process that keeps more of its memory limit after a tile is replaced."""


def serve() -> None:
    """Decode what comes over a socket, until its other end closes; the program of a process."""
    descriptor, max_decode_s, max_decode_bytes = sys.argv[1:]
    _silence_libraries()
    # A supervisor may send SIGTERM to all processes of a service, which drains first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    with suppress(OSError):  # a sandbox may forbid it
        # The worker thread that started this process already has a low priority, and so has this.
        os.setpriority(os.PRIO_PROCESS, 0, max(_NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    filter_decoder_warnings()
    Image.preinit()  # before memory is measured
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core dump holds the tile
    n_idle_bytes = _address_space_bytes()
    n_kept_bytes = int(int(max_decode_bytes) * _MAX_KEPT_SHARE)
    if sys.platform == "linux":
        resource.setrlimit(
            resource.RLIMIT_AS, (n_idle_bytes + int(max_decode_bytes), resource.RLIM_INFINITY)
        )
    file = socket.socket(fileno=int(descriptor)).makefile("rwb")
    is_spent = False
    with suppress(EOFError, OSError, pickle.UnpicklingError):  # the service has ended
        pickle.dump("started", file)
        file.flush()
        while not is_spent:
            tile_bytes, limits, side_px = pickle.load(file)  # noqa: S301 - from the service
            signal.setitimer(signal.ITIMER_PROF, float(max_decode_s))  # its signal kills
            answer = _decode(tile_bytes, limits, side_px, int(max_decode_bytes))
            signal.setitimer(signal.ITIMER_PROF, 0)
            del tile_bytes
            is_spent = _address_space_bytes() - n_idle_bytes > n_kept_bytes
            pickle.dump((answer, is_spent), file, pickle.HIGHEST_PROTOCOL)
            file.flush()


def _silence_libraries() -> None:
    """Leave standard error to Python, whose tracebacks the service logs.

    libtiff writes what it dislikes about a file there, as often as the file makes it.
    """
    sys.stderr = os.fdopen(os.dup(sys.stderr.fileno()), "w", buffering=1)
    faulthandler.enable(sys.stderr)  # also writes a traceback if a decoder crashes
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)


def _decode(
    tile_bytes: bytes, limits: TileLimits, side_px: int, max_decode_bytes: int
) -> Decoded | TileError:
    try:
        return decode_tile_and_header(tile_bytes, limits, side_px)
    except TileError as error:
        return error.detached()
    except MemoryError:
        return DecodeBudgetError(f"it takes more than {max_decode_bytes} bytes of memory")


def _address_space_bytes() -> int:
    """Size of the address space, which `RLIMIT_AS` limits; 0 if it is unknown."""
    if sys.platform != "linux":
        return 0
    return int(_STATM.read_text().split()[0]) * resource.getpagesize()
