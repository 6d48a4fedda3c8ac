"""The folder of a bundle while it is made: refuse to overwrite one, complete it, check it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.bundle import check_golden_tiles, open_bundle, read_golden_tiles
from app.core.manifest import (
    MANIFEST_NAME,
    FileEntry,
    Manifest,
    sha256_of_file,
    write_manifest,
)
from app.runtime.litert import LiteRtRuntime
from app.runtime.protocol import Runtime
from app.runtime.savedmodel import SavedModelRuntime
from training.errors import RunError
from training.release.staging import staging
from training.storage.disk import writing

PARITY: Final = 1e-3
"""Largest allowed difference of any output between SavedModel and LiteRT."""


@contextmanager
def new_bundle(bundle_dir: Path) -> Iterator[Path]:
    """Yield a folder for a bundle, which is moved to `bundle_dir` if the block succeeds.

    So a bundle that is not finished, or fails its check, is nowhere to be taken for a released one.

    Args:
        bundle_dir: `NAME/VERSION`.

    Raises:
        RunError: there is a complete bundle, or the folder cannot be written.
    """
    require_no_bundle(bundle_dir)
    with writing(bundle_dir):
        bundle_dir.parent.mkdir(parents=True, exist_ok=True)
    with staging(bundle_dir.parent) as folder:
        draft = folder / bundle_dir.parent.name / bundle_dir.name
        draft.mkdir(parents=True)
        yield draft
        draft.rename(bundle_dir)


def require_no_bundle(bundle_dir: Path) -> None:
    """Refuse to overwrite a bundle; remove one without a manifest, as early versions left them.

    Raises:
        RunError: there is a complete bundle.
    """
    if bundle_dir.is_dir() and not (bundle_dir / MANIFEST_NAME).exists():
        shutil.rmtree(bundle_dir)
    if bundle_dir.exists():
        raise RunError(
            f"{bundle_dir} exists, and a released bundle never changes. Increase model_version, "
            "pass another --models-dir, or remove the folder first."
        )


def file_entry(file: Path) -> FileEntry:
    """Size and SHA-256 of a file."""
    return FileEntry(sha256=sha256_of_file(file), n_bytes=file.stat().st_size)


def file_entries(bundle_dir: Path) -> dict[str, FileEntry]:
    """Entries of every file of a bundle that has no manifest yet."""
    files = sorted(path for path in bundle_dir.rglob("*") if path.is_file())
    return {path.relative_to(bundle_dir).as_posix(): file_entry(path) for path in files}


def complete_bundle(
    bundle_dir: Path, manifest: Manifest, files: Mapping[str, FileEntry]
) -> Manifest:
    """Write the manifest with these files, then check the bundle.

    Raises:
        BundleError: a file, the manifest or a golden tile is not as released.
        RunError: the runtimes differ by more than `PARITY`.
    """
    manifest = manifest.model_copy(update={"files": dict(files)})
    write_manifest(bundle_dir / MANIFEST_NAME, manifest)
    check_bundle(bundle_dir)
    return manifest


def check_bundle(bundle_dir: Path) -> float:
    """Open a bundle as the service does and run its golden tiles on every runtime.

    Returns:
        The largest difference of any output between SavedModel and LiteRT.

    Raises:
        BundleError: a file, the manifest or a golden tile is not as released.
        RunError: the runtimes differ by more than `PARITY`.
    """
    bundle = open_bundle(bundle_dir)
    saved_model = SavedModelRuntime(bundle.saved_model_dir)
    litert = LiteRtRuntime(bundle.litert_file, n_workers=1)
    largest = 0.0
    for golden in read_golden_tiles(bundle):
        one, other = saved_model.infer(golden.tile[None]), litert.infer(golden.tile[None])
        for name in ("logits", "embedding", "cam"):
            gap = np.abs(getattr(one, name) - getattr(other, name)).max()
            largest = max(largest, float(gap))
    runtimes: list[Runtime] = [saved_model, litert]
    if bundle.manifest.int8 is not None:
        runtimes.append(LiteRtRuntime(bundle.int8_file, n_workers=1, precision="int8"))
    for runtime in runtimes:
        check_golden_tiles(bundle, _logits_of(runtime), runtime.precision)
        runtime.close()
    if not largest <= PARITY:  # not `>`: NaN must fail
        raise RunError(f"The runtimes differ by {largest:.2g}; at most {PARITY:.2g} is allowed.")
    return largest


def _logits_of(runtime: Runtime) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    return lambda tiles: runtime.infer(tiles).logits
