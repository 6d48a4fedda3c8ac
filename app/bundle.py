"""Open a model bundle: find it, read its manifest, verify its files and check its golden tiles."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from app.core.errors import (
    BundleNotFoundError,
    ChecksumError,
    GoldenTileError,
    InferenceError,
    ManifestError,
)
from app.core.manifest import (
    GOLDEN_NAME,
    INT8_NAME,
    LITERT_NAME,
    MANIFEST_NAME,
    SAVED_MODEL_NAME,
    Manifest,
    read_manifest,
    sha256_of_file,
)
from app.core.tile import decode_tile

GOLDEN_TOLERANCE: Final = {"fp32": 1e-3, "mixed": 0.25, "int8": 0.25}
"""Largest accepted difference of a logit from the released one, by precision.

fp32 runtimes differ by about 1e-5. Integer kernels of other processors may round differently, and
one step of the last quantised layers is a noticeable part of a logit. `mixed` (half precision where
it is faster on a GPU) is compared with the fp32 logits.
"""
GOLDEN_EXPECTED_NAME: Final = "expected.json"


@dataclass(frozen=True, slots=True)
class GoldenTile:
    """A drawn tile (uint8 `[side, side, 3]` RGB) and its logits (float32 `[C]`) at release."""

    name: str
    tile: NDArray[np.uint8]
    logits: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle directory; `sha256` is the SHA-256 of its manifest."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def saved_model_dir(self) -> Path:
        """Directory of the SavedModel."""
        return self.path / SAVED_MODEL_NAME

    @property
    def litert_file(self) -> Path:
        """The LiteRT file."""
        return self.path / LITERT_NAME

    @property
    def int8_file(self) -> Path:
        """The quantised LiteRT file."""
        return self.path / INT8_NAME


def list_versions(models_dir: Path, model_name: str) -> list[str]:
    """List the version folders of a model, oldest first, without reading them."""
    folders = (models_dir / model_name).glob("[1-9]*")
    return sorted((path.name for path in folders if path.name.isdecimal()), key=int)


def find_bundle(models_dir: Path, model_name: str, model_version: str | None = None) -> Path:
    """Find the directory of a bundle, in its newest version unless one is named.

    Raises:
        BundleNotFoundError: there is no such bundle.
    """
    model_dir = models_dir / model_name
    if model_version is None:
        versions = list_versions(models_dir, model_name)
        if not versions:
            raise BundleNotFoundError(
                str(model_dir), "Set OSTEO_MODELS_DIR to the folder that contains NAME/VERSION/."
            )
        return model_dir / versions[-1]
    path = model_dir / model_version
    if not model_version.isdecimal() or not path.is_dir():
        raise BundleNotFoundError(str(path), "Check OSTEO_MODEL_NAME and OSTEO_MODEL_VERSION.")
    return path


def open_bundle(path: Path) -> Bundle:
    """Read a bundle's manifest and verify every file against it.

    Args:
        path: the directory `NAME/VERSION`.

    Raises:
        BundleNotFoundError: no such directory.
        ManifestError: the manifest cannot be read, or does not follow the schema.
        ChecksumError: a file is missing or is not the released one.
    """
    if not path.is_dir():
        raise BundleNotFoundError(str(path), "Expected a directory NAME/VERSION.")
    manifest, sha256 = read_manifest(path / MANIFEST_NAME)
    if (manifest.model_name, manifest.model_version) != (path.parent.name, path.name):
        raise ManifestError(
            str(path / MANIFEST_NAME),
            f"it belongs to {manifest.model_name}/{manifest.model_version}, not to this folder",
        )
    for name, entry in manifest.files.items():
        file = path / name
        if path not in file.parents or ".." in Path(name).parts:
            raise ManifestError(str(path / MANIFEST_NAME), f"{name} in files is outside the bundle")
        found = sha256_of_file(file) if file.is_file() else None
        if found != entry.sha256:
            raise ChecksumError(str(file), entry.sha256, found)
    return Bundle(path, manifest, sha256)


def read_golden_tiles(bundle: Bundle, precision: str = "fp32") -> Iterator[GoldenTile]:
    """Yield the bundle's golden tiles, decoded like an upload, with their released logits.

    Args:
        bundle: an opened bundle.
        precision: `int8` yields the logits of the quantised file, any other those of fp32.

    Raises:
        ManifestError: the bundle has no released logits for this precision.
    """
    golden_dir = bundle.path / GOLDEN_NAME
    key = "logits_int8" if precision == "int8" else "logits"
    try:
        expected = json.loads((golden_dir / GOLDEN_EXPECTED_NAME).read_text())[key]
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise ManifestError(str(golden_dir / GOLDEN_EXPECTED_NAME), f"it has no {key}") from error
    for name, logits in sorted(expected.items()):
        tile = decode_tile((golden_dir / name).read_bytes(), side_px=bundle.manifest.input.side_px)
        yield GoldenTile(name, tile, np.asarray(logits, dtype=np.float32))


def check_golden_tiles(
    bundle: Bundle,
    infer_logits: Callable[[NDArray[np.uint8]], NDArray[np.float32]],
    precision: str = "fp32",
) -> float:
    """Run the golden tiles and compare their logits with the released ones.

    Args:
        bundle: an opened bundle.
        infer_logits: uint8 `[1, side, side, 3]` -> float32 `[1, C]`.
        precision: a key of `GOLDEN_TOLERANCE`.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        GoldenTileError: a logit differs by more than `GOLDEN_TOLERANCE`, or is NaN.
        InferenceError: the bundle has no golden tiles for this precision.
    """
    largest, tolerance = 0.0, GOLDEN_TOLERANCE[precision]
    n_tiles = 0
    for golden in read_golden_tiles(bundle, precision):
        n_tiles += 1
        difference = float(np.abs(infer_logits(golden.tile[np.newaxis])[0] - golden.logits).max())
        if not difference <= tolerance:  # true for NaN
            raise GoldenTileError(golden.name, difference, tolerance)
        largest = max(largest, difference)
    if n_tiles == 0:
        raise InferenceError("The bundle has no golden tiles, so its answers cannot be checked.")
    return largest
