"""Open a bundle: check its origin, read its manifest and verify its files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from app.bundle.trust import ANY_BUNDLE, Trust
from app.core.bundle_errors import BundleNotFoundError, ChecksumError, ManifestError
from app.core.manifest import (
    GOLDEN_NAME,
    INT8_NAME,
    LITERT_NAME,
    MANIFEST_NAME,
    SAVED_MODEL_NAME,
    Manifest,
    parse_manifest,
    read_manifest_bytes,
    sha256_of_file,
)

MAX_GOLDEN_BYTES: Final = 64 * 1024**2
"""Golden files are kept in memory; those of a release have less than 1 MiB."""
_MAX_SURPLUS_BYTES: Final = 64 * 1024**2
"""A file that is larger than released by more than this is not even hashed."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A verified bundle directory.

    Attributes:
        path: the directory `NAME/VERSION`.
        manifest: its manifest.
        sha256: SHA-256 of the manifest, which identifies the bundle.
        golden_files: the verified content of the files in `golden/`, by name. They are kept,
            because a failing service checks its model again, whatever is on the disk by then.
    """

    path: Path
    manifest: Manifest
    sha256: str
    golden_files: Mapping[str, bytes] = field(default_factory=dict, repr=False)

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

    def read_file(self, name: str) -> bytes:
        """Read a file once and return its bytes if they are the released ones.

        Raises:
            ManifestError: the manifest does not list the file, or it links to outside the bundle.
            ChecksumError: the file is missing or is not the released one.
        """
        return _read_file(self.path, self.manifest, name)

    @contextmanager
    def verified_copy(self, folder: str) -> Iterator[Path]:
        """Copy a folder into a private temporary one, without files that the manifest lacks.

        A loader that takes a path reads the copy, so nobody can change a file between its
        verification and its use.

        Raises:
            ManifestError: the manifest lists no file in the folder.
            ChecksumError: a file is missing or is not the released one.
            OSError: the temporary folder has no room.
        """
        names = [name for name in self.manifest.files if name.startswith(f"{folder}/")]
        if not names:
            raise ManifestError(_shown(self.path, MANIFEST_NAME), f"it lists no file in {folder}/")
        with tempfile.TemporaryDirectory(prefix="osteo-") as scratch:
            for name in names:
                target = Path(scratch) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(self.read_file(name))
            yield Path(scratch) / folder


def open_bundle(path: Path, trust: Trust = ANY_BUNDLE) -> Bundle:
    """Read a bundle's manifest and verify every file against it.

    Args:
        path: the directory `NAME/VERSION`.
        trust: which bundles may be opened; checked before the manifest is parsed.

    Raises:
        BundleNotFoundError: no such directory.
        UntrustedBundleError: `trust` does not allow this bundle.
        ManifestError: the manifest cannot be read, or does not follow the schema.
        ChecksumError: a file is missing or is not the released one.
    """
    if not path.is_dir():
        raise BundleNotFoundError(_shown(path), "Expected a directory NAME/VERSION.")
    shown = _shown(path, MANIFEST_NAME)
    content = read_manifest_bytes(_inside(path, MANIFEST_NAME), shown)
    trust.require(path, content)
    manifest = parse_manifest(content, shown)
    if (manifest.model_name, manifest.model_version) != (path.parent.name, path.name):
        raise ManifestError(
            shown, f"it belongs to {manifest.model_name}/{manifest.model_version}, not this folder"
        )
    golden_names = [name for name in manifest.files if name.startswith(f"{GOLDEN_NAME}/")]
    if sum(manifest.files[name].n_bytes for name in golden_names) > MAX_GOLDEN_BYTES:
        raise ManifestError(shown, f"golden/ has more than {MAX_GOLDEN_BYTES} bytes")
    for name in manifest.files.keys() - set(golden_names):
        _require_released(path, manifest, name, _sha256_or_none(path, manifest, name))
    golden_files = {
        name.removeprefix(f"{GOLDEN_NAME}/"): _read_file(path, manifest, name)
        for name in golden_names
    }
    return Bundle(path, manifest, hashlib.sha256(content).hexdigest(), golden_files)


def _read_file(root: Path, manifest: Manifest, name: str) -> bytes:
    if name not in manifest.files:
        raise ManifestError(_shown(root, MANIFEST_NAME), f"{name} is not listed")
    _require_released(root, manifest, name, _sha256_or_none(root, manifest, name))
    content = _inside(root, name).read_bytes()
    # Not the hash from before: somebody may have changed the file since.
    _require_released(root, manifest, name, hashlib.sha256(content).hexdigest())
    return content


def _require_released(root: Path, manifest: Manifest, name: str, found: str | None) -> None:
    expected = manifest.files[name].sha256
    if found != expected:
        raise ChecksumError(_shown(root, name), expected, found)


def _inside(root: Path, name: str) -> Path:
    """The file of this name, if it does not link to outside the bundle."""
    file = root / name
    try:
        is_inside = file.resolve().is_relative_to(root.resolve())
    except RuntimeError:  # Python up to 3.12: links in a circle
        is_inside = False
    if not is_inside:
        raise ManifestError(_shown(root, MANIFEST_NAME), f"{name} links to outside the bundle")
    return file


def _sha256_or_none(root: Path, manifest: Manifest, name: str) -> str | None:
    """Hash a file without reading it into memory; None if there is no such file."""
    file, expected = _inside(root, name), manifest.files[name].n_bytes
    if not file.is_file():
        return None
    if file.stat().st_size > expected + _MAX_SURPLUS_BYTES:
        raise ManifestError(
            _shown(root, MANIFEST_NAME),
            f"{name} has {file.stat().st_size} bytes instead of {expected}",
        )
    return sha256_of_file(file)


def _shown(root: Path, name: str = "") -> str:
    """NAME/VERSION/FILE: errors reach clients, which must not learn the server's folders."""
    return (Path(root.parent.name) / root.name / name).as_posix()
