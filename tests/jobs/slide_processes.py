"""Processes that work on slides, seen from outside."""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from pathlib import Path

from app.slides.run import CHECKPOINT_NAME


def is_alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    return _state_of(pid) not in {"Z", "X"}


def pause(pid: int) -> None:
    """Stop a process, and wait until it stands still."""
    os.kill(pid, signal.SIGSTOP)
    while _state_of(pid) != "T":
        assert is_alive(pid), "the process has ended"
        time.sleep(0.005)


def _state_of(pid: int) -> str:
    """The state of a process, as `/proc` writes it; "X" if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):  # the latter if it ends while this reads
        return "X"
    return stat.rpartition(")")[2].split()[0]


def processes_in(folder: Path) -> list[int]:
    """Other processes that have a file of a folder open."""
    found: list[int] = []
    if not any(folder.glob("*")):
        return found  # saves reading /proc while a test waits for a process to start
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and process.name != str(os.getpid()):
            try:
                files = [str(file.readlink()) for file in (process / "fd").iterdir()]
            except OSError:
                continue
            if any(file.startswith(f"{folder}/") for file in files):
                found.append(int(process.name))
    return found


def stop_after_a_commit(process: int, folder: Path) -> None:
    """Let a process work until it has committed rows, and leave it stopped.

    It is stopped for every look, or a fast one might end between the look and what follows.
    """
    while True:
        os.kill(process, signal.SIGSTOP)
        if n_committed(folder):
            return
        os.kill(process, signal.SIGCONT)
        time.sleep(0.05)


def n_committed(folder: Path) -> int:
    """Rows in the checkpoint of a folder of results."""
    if not (folder / CHECKPOINT_NAME).exists():
        return 0
    connection = sqlite3.connect(f"file:{folder / CHECKPOINT_NAME}?mode=ro", uri=True)
    try:
        ((count,),) = connection.execute("SELECT COUNT(*) FROM tiles")
    except sqlite3.OperationalError:  # there is no table yet
        return 0
    finally:
        connection.close()
    return int(count)
