"""Learning curves as event files, which TensorBoard shows."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from training.storage.disk import writing

CURVES_NAME: Final = "tensorboard"
"""Folder of the event files in a run."""


@contextmanager
def open_curve(curves_dir: Path, name: str) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Write the curve of one fit, instead of an older one of this name.

    Yields:
        A function that takes the fields of each epoch's record, in order, and writes loss and
        accuracy of training and test tiles at the epoch's number, which counts all phases.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    from tensorboard.summary import Writer

    n_epochs = 0
    # A name may come from the user's tiles.
    folder = curves_dir / (re.sub(r"[^\w .-]", "_", name).strip(".") or "_")
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        writer = Writer(str(folder))

    def add(record: Mapping[str, Any]) -> None:
        nonlocal n_epochs
        n_epochs += 1
        with writing(folder):
            for quantity in ("loss", "accuracy"):
                for tiles, key in (("training", quantity), ("test", f"test_{quantity}")):
                    if record[key] is not None:
                        writer.add_scalar(f"{quantity}/{tiles}", record[key], n_epochs)
            writer.flush()

    try:
        yield add
    finally:
        writer.close()


def write_curves(run_dir: Path, history: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write the curves of a finished run, one folder for each fold, instead of older ones.

    Args:
        run_dir: receives the folder `CURVES_NAME`.
        history: the records of each fold's epochs, by the fold's name.

    Raises:
        RunError: the disk is full or cannot be written.
    """
    shutil.rmtree(run_dir / CURVES_NAME, ignore_errors=True)
    for name, records in history.items():
        with open_curve(run_dir / CURVES_NAME, name) as add:
            for record in records:
                add(record)
