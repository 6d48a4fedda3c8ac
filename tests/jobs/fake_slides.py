"""Stands in for `run_slide` in the process that works on a slide, so that tests know what it does.

Everything else in that process is real.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from app.core.slide_errors import CorruptSlideError
from app.jobs.slide_program import main
from app.slides.checkpoint import COMMIT_ROWS, Checkpoint
from app.slides.folder_lock import locked
from app.slides.tile_rows import TileRow

N_ROWS: Final = 5 * COMMIT_ROWS
GATE: Final = "gate"
WORKED: Final = "worked"
"""In the results: a line for each row that was worked on, with the number of the process."""
Behaviour = Callable[[Any, Callable[..., None], Callable[[], bool]], None]


def program_of(behaviour: str) -> str:
    """Python code for `SlideProcess`."""
    return f"from tests.jobs.fake_slides import run; run({behaviour!r})"


def run(behaviour: str) -> None:
    module = types.ModuleType("app.slides.run")
    do: Behaviour = globals()[behaviour]

    def run_slide(
        ordered: Any, _open_model: object, progress: Any, is_stopped: Callable[[], bool]
    ) -> None:
        do(ordered, progress, is_stopped)

    vars(module).update(SlideRun=types.SimpleNamespace, run_slide=run_slide)
    sys.modules["app.slides.run"] = module
    main()


def work(ordered: Any, progress: Callable[..., None], is_stopped: Callable[[], bool]) -> None:
    """Work on rows as `run_slide` does; pass row N only if the file `gate` says N or more."""
    worked = ordered.out_dir / WORKED
    progress("opening", 0, None)
    progress("finding tissue", 0, None)
    with (
        locked(ordered.out_dir, ordered.lock_within_s),
        Checkpoint(ordered.out_dir / "tiles.sqlite3", ordered.sha256) as checkpoint,
    ):
        done = checkpoint.done()
        n_done = len(done)
        progress("classifying", n_done, N_ROWS)
        rest = [number for number in range(N_ROWS) if (number, 0) not in done]
        for at in range(0, len(rest), COMMIT_ROWS):
            rows: list[TileRow] = []
            for number in rest[at : at + COMMIT_ROWS]:
                while number >= int((ordered.out_dir / GATE).read_text() or 0):
                    if is_stopped():
                        checkpoint.append(rows)
                        raise InterruptedError("stopped")
                    time.sleep(0.005)
                with worked.open("a") as file:
                    file.write(f"{os.getpid()} {number}\n")
                rows.append(TileRow(number, 0, 1.0, (1.0,)))
            checkpoint.append(rows)
            n_done += len(rows)
            progress("classifying", n_done, N_ROWS)
    progress("writing", n_done, N_ROWS)
    (ordered.out_dir / "summary.json").write_text("{}")


def sleep(ordered: Any, *_: object) -> None:
    """Never end, whatever is asked."""
    (ordered.out_dir / WORKED).write_text(f"{os.getpid()} 0\n")
    while True:
        time.sleep(1)


def finish_late(ordered: Any, _: object, is_stopped: Callable[[], bool]) -> None:
    """Be at the last tile when asked to stop."""
    (ordered.out_dir / WORKED).write_text(f"{os.getpid()} 0\n")
    while not is_stopped():
        time.sleep(0.005)


def crash(*_: object) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(*_: object) -> None:
    os._exit(3)


def fail(ordered: Any, *_: object) -> None:
    raise ValueError(f"something about {ordered.path}")


def find_damage(*_: object) -> None:
    raise CorruptSlideError("its last half is missing.")


def fill_disk(*_: object) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    raise RuntimeError("an output cannot be written") from full


def fill_memory(*_: object) -> None:
    kept = []
    while True:
        kept.append(bytearray(64 * 1024**2))


def print_noise(ordered: Any, progress: Callable[..., None], _: object) -> None:
    """Write where libraries write, and tell more than a pipe holds."""
    print("noise")  # noqa: T201 - what the test is about
    os.write(1, b"{}\nnoise\n")
    os.write(2, b"noise\n")
    for number in range(5_000):
        progress(f"stage {number % 2}", number, N_ROWS)
    Path(ordered.out_dir / "summary.json").write_text("{}")
