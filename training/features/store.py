"""Features of a frozen network on disk: computed once for each tile and view.

A space (one network with its weights, at one side) is a folder of chunks, each with some rows. The
key of a row is the SHA-256 of what it was computed from: the tile's bytes and the view. A chunk is
one file, `SHA-256.chunk`: an array of keys and an array of features, one `.npy` after the other. It
is written atomically, and its name is the SHA-256 of its content, so a file that a kill, a full
disk or a bad block damaged is never used.

Several processes may share a folder: chunks never change, and the process that computes holds a
lock, so that the others wait for its features instead of computing them again.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from app.core.manifest import sha256_of_file
from training.console.progress import ERRORS
from training.errors import CacheError
from training.storage.atomic import PART_SUFFIX, try_lock, wait_for_lock, write_bytes_whole
from training.storage.disk import require_room, writing
from training.storage.scratch_array import allocate

Features = NDArray[np.float32]

_FORMAT: Final = 1
"""Version of the chunks and of how `decode_tile` decodes: raise it when either changes."""
_KEY_BYTES: Final = 32
_CHUNK_ROWS: Final = 256
_CHUNK_BYTES: Final = 2**24
_OPTION: Final = "--cache-dir"
_ATTEMPTS: Final = 3
_SAME: Final = 1e-2
"""Largest difference of a row that is computed again, relative to its largest feature."""


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """The network whose features a folder holds.

    Attributes:
        system: name of the network.
        weights: SHA-256 of the weights file, or a name that identifies the weights.
        side_px: side of the network's input.
        output: the layer; `pooled` is the pooled last feature map.
    """

    system: str
    weights: str
    side_px: int
    output: str = "pooled"

    @property
    def folder_name(self) -> str:
        """A readable name that ends with a digest of everything in the space."""
        return f"{self.system}-{self.side_px}-{_digest(asdict(self)).hex()[:16]}"


def row_key(tile_sha256: str, view: Mapping[str, Any] | None = None) -> bytes:
    """The key of a row: 32 bytes.

    Args:
        tile_sha256: SHA-256 of the tile's bytes.
        view: everything that determines a transformed view, as JSON; None for the original.
    """
    return _digest({"tile": tile_sha256, "view": view})


class FeatureStore:
    """The rows of one space; each process opens its own."""

    def __init__(self, cache_dir: Path, space: FeatureSpace) -> None:
        """Open the folder of a space, creating it if it is missing.

        Raises:
            CacheError: the folder is not writable.
        """
        self.folder = cache_dir / space.folder_name
        self._place: dict[bytes, tuple[Path, int]] = {}
        self._chunks: dict[Path, Features] = {}
        self._seen: set[Path] = set()
        with self._writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            described = json.dumps({"format": _FORMAT, **asdict(space)}, indent=1)
            if not (self.folder / "space.json").exists():
                write_bytes_whole(self.folder / "space.json", described.encode())
        self.refresh()

    def refresh(self) -> None:
        """Find chunks that other processes have written since the last call."""
        for path in sorted(set(self.folder.glob("*.chunk")) - self._seen):
            self._seen.add(path)
            try:
                with path.open("rb") as stream:
                    keys = np.load(stream, allow_pickle=False)
            except (OSError, ValueError, EOFError):
                continue  # damaged or gone, so its rows are missing
            self._place.update({key.tobytes(): (path, row) for row, key in enumerate(keys)})

    def missing(self, keys: Sequence[bytes]) -> list[int]:
        """Positions of keys without a row."""
        return [i for i, key in enumerate(keys) if key not in self._place]

    def read(self, keys: Sequence[bytes]) -> Features:
        """Rows of some keys, float32 `[n, ...]`; a large result is on disk (`allocate`).

        Raises:
            KeyError: a row is missing, or its chunk is damaged; a damaged chunk is removed.
        """
        rows_by_chunk: dict[Path, list[tuple[int, int]]] = {}
        for i, key in enumerate(keys):
            path, row = self._place[key]
            rows_by_chunk.setdefault(path, []).append((i, row))
        out: Features | None = None
        for path, rows in rows_by_chunk.items():
            chunk = self._open(path)
            if out is None:
                out = allocate((len(keys), *chunk.shape[1:]), np.float32)
            to, taken = np.array(rows).T
            out[to] = chunk[taken]
        if out is None:
            raise KeyError("no keys")
        return out

    def write(self, keys: Sequence[bytes], features: Features) -> None:
        """Add rows: all of them, or none if the process ends too early.

        Args:
            keys: one from `row_key` for each row.
            features: float32 `[n, ...]`.

        Raises:
            CacheError: the disk is full or not writable.
        """
        packed = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), _KEY_BYTES)
        content = io.BytesIO()
        np.save(content, packed, allow_pickle=False)
        np.save(content, np.ascontiguousarray(features, dtype=np.float32), allow_pickle=False)
        path = self.folder / f"{hashlib.sha256(content.getbuffer()).hexdigest()}.chunk"
        with self._writing():
            write_bytes_whole(path, content.getbuffer())
        self._seen.add(path)
        self._place.update({key: (path, row) for row, key in enumerate(keys)})

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Make other processes wait instead of computing the same rows.

        The lock of a killed process is free.
        """
        with (self.folder / "lock").open("wb") as stream:
            if not try_lock(stream):
                ERRORS.print(
                    f"Another process computes features in {self.folder}. Waiting for it.",
                    soft_wrap=True,
                )
                wait_for_lock(stream)
            for left in self.folder.glob(f"*.chunk.*{PART_SUFFIX}"):
                left.unlink(missing_ok=True)  # of a process that was killed
            self.refresh()
            yield

    def _writing(self) -> contextlib.AbstractContextManager[None]:
        return writing(self.folder, CacheError, _OPTION)

    def _open(self, path: Path) -> Features:
        """The memory-mapped features of a chunk; its content is checked once, by its name."""
        if path not in self._chunks:
            try:
                whole = sha256_of_file(path) == path.stem
            except OSError:
                whole = False
            if not whole:
                self._forget(path)
                raise KeyError(path.name)
            with path.open("rb") as stream:
                np.load(stream, allow_pickle=False)
                self._chunks[path] = _map_array(path, stream)
        return self._chunks[path]

    def _forget(self, path: Path) -> None:
        ERRORS.print(
            f"{path.name} in {self.folder} is damaged. Its features are computed again.",
            soft_wrap=True,
        )
        path.unlink(missing_ok=True)
        self._seen.discard(path)
        self._place = {key: place for key, place in self._place.items() if place[0] != path}


def fill(
    store: FeatureStore,
    keys: Sequence[bytes],
    compute: Callable[[Sequence[int]], Iterable[Features]],
    track: Callable[[Sequence[int]], Iterable[int]] = iter,
) -> Features:
    """Read the rows of some keys, float32 `[len(keys), ...]`, after computing the missing ones.

    Args:
        store: where the rows are and are written to.
        keys: one from `row_key` for each row.
        compute: from positions in `keys` to their rows, one by one; called under the lock.
        track: wraps the missing positions to show progress.

    Raises:
        CacheError: the disk is full, or the stored features are not this network's.
    """
    if not store.missing(keys):
        with contextlib.suppress(KeyError):
            return store.read(keys)
    with store.locked():
        for _ in range(_ATTEMPTS):
            missing = store.missing(keys)
            if missing:
                _compute_missing(store, keys, missing, compute, track)
            with contextlib.suppress(KeyError):
                return store.read(keys)
    raise CacheError(f"{store.folder} does not return what is written to it. Check the disk.")


def _compute_missing(
    store: FeatureStore,
    keys: Sequence[bytes],
    missing: Sequence[int],
    compute: Callable[[Sequence[int]], Iterable[Features]],
    track: Callable[[Sequence[int]], Iterable[int]],
) -> None:
    # One row tells the size of all. If a row is stored already, compute that one again, to detect
    # that another network has filled the folder under the same name.
    known = next((i for i in range(len(keys)) if not store.missing([keys[i]])), None)
    (probe,) = compute([missing[0] if known is None else known])
    if known is not None:
        _require_same(store, keys[known], probe)
    row_bytes = probe.nbytes + _KEY_BYTES
    n_bytes = row_bytes * len(missing)
    require_room(store.folder, n_bytes, "The feature cache", CacheError, _OPTION)
    n_rows = max(1, min(_CHUNK_ROWS, _CHUNK_BYTES // row_bytes))
    chunks = [missing[first : first + n_rows] for first in range(0, len(missing), n_rows)]
    counted = iter(track(missing))
    for chunk in chunks:
        rows = [row for row, _ in zip(compute(chunk), counted, strict=False)]
        store.write([keys[i] for i in chunk], np.stack(rows))
    next(counted, None)  # ends the progress bar


def _require_same(store: FeatureStore, key: bytes, computed: Features) -> None:
    try:
        stored = store.read([key])[0]
    except KeyError:
        return
    if stored.shape != computed.shape or not np.allclose(
        stored, computed, rtol=0.0, atol=_SAME * float(np.abs(computed).max() + 1.0)
    ):
        raise CacheError(
            f"{store.folder} holds other features than this network computes: another version of "
            "the weights or libraries wrote them. Remove the folder."
        )


def _digest(value: Mapping[str, Any]) -> bytes:
    written = json.dumps({"format": _FORMAT, **value}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(written.encode()).digest()


def _map_array(path: Path, stream: BinaryIO) -> Features:
    """Map the `.npy` that begins at the stream's position."""
    np.lib.format.read_magic(stream)
    shape, _, dtype = np.lib.format.read_array_header_1_0(stream)
    return np.memmap(path, dtype=dtype, mode="r", offset=stream.tell(), shape=shape)
