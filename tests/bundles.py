"""A bundle and a runtime for tests that need no network weights: exact and instant."""

from __future__ import annotations

import atexit
import functools
import io
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from app.bundle import GOLDEN_EXPECTED_NAME, Bundle
from app.core.assessment_record import AssessmentRecord
from app.core.errors import InferenceError
from app.core.manifest import (
    GOLDEN_NAME,
    LITERT_NAME,
    MANIFEST_NAME,
    FileEntry,
    InputContract,
    Label,
    Manifest,
    sha256_of_file,
    write_manifest,
)
from app.core.provenance import DataSource, WeightsSource
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.tile import decode_tile
from app.runtime.protocol import ModelOutputs
from app.settings import Settings
from app.telemetry.metrics import Metrics
from tests import mean_colours
from tests.records import a_record, reference_embeddings

LABELS: Final = (
    Label(id="non_tumor", name="Non-Tumor", is_tumor=False),
    Label(id="non_viable_tumor", name="Non-Viable Tumor", is_tumor=True),
    Label(id="viable_tumor", name="Viable Tumor", is_tumor=True),
)
MODEL_NAME: Final = "osteo-mobilenetv2"
_NO_HASH: Final = "0" * 64


class FakeRuntime:
    """Returns the mean red, green and blue of a tile as logits, so that tests know the answer."""

    name = "fake"
    device = "cpu"
    precision = "fp32"
    computes_in_caller = True
    n_warm_ups = 1

    def __init__(self, n_workers: int = 2) -> None:
        self.n_workers = n_workers
        self.delay_s = 0.0
        self.poison: Callable[[NDArray[np.float32]], NDArray[np.float32]] = lambda logits: logits
        self.embedding = np.zeros(1280, np.float32)
        self.cam = np.zeros((7, 7, 3), np.float32)
        self.is_closed = False
        self.n_tiles = 0
        self.n_alone = 0

    def infer(self, tiles: NDArray[np.uint8], *, alone: bool = False) -> ModelOutputs:
        time.sleep(self.delay_s)
        self.n_tiles += len(tiles)
        self.n_alone += alone
        logits = self.poison(tiles.mean(axis=(1, 2), dtype=np.float64).astype(np.float32) / 32)
        return ModelOutputs(
            logits=logits,
            embedding=np.stack([self.embedding] * len(tiles)),
            cam=np.stack([self.cam] * len(tiles)),
        )

    def close(self) -> None:
        self.is_closed = True


def saying(*logits: float) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A value for `FakeRuntime.poison` that replaces the logits of every tile."""
    return lambda asked: np.tile(np.array(logits, np.float32), (len(asked), 1))


def nan_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full_like(logits, np.nan)


def failing(_logits: NDArray[np.float32]) -> NDArray[np.float32]:
    raise InferenceError("The interpreter raised.")


def encode(pixels: NDArray[np.uint8], format_: str = "PNG") -> bytes:
    """Encode uint8 `[H, W, 3]` or `[H, W]`."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format_)
    return buffer.getvalue()


def plain_tile(rgb: tuple[int, int, int], side_px: int = 256, format_: str = "PNG") -> bytes:
    """An encoded tile of one colour."""
    return encode(np.full((side_px, side_px, 3), rgb, np.uint8), format_)


def damaged_tile(side_px: int = 512) -> bytes:
    """A JPEG of noise that lost 2 kB; its decoder recovers the rest."""
    noise = np.random.default_rng(2).integers(0, 180, (side_px, side_px, 3), np.uint8)
    jpeg = encode(noise, "JPEG")
    at = 2 * len(jpeg) // 3
    return jpeg[:at] + jpeg[at + 2048 :]


def manifest_of(root: Path, version: str = "1", record: AssessmentRecord | None = None) -> Manifest:
    """A manifest that lists the files below a directory."""
    files = {
        str(file.relative_to(root)): FileEntry(
            sha256=sha256_of_file(file), n_bytes=file.stat().st_size
        )
        for file in sorted(root.rglob("*"))
        if file.is_file() and file.name != MANIFEST_NAME
    }
    return Manifest(
        model_name=MODEL_NAME,
        model_version=version,
        created="2026-01-01T00:00:00Z",
        intended_use="tests",
        labels=LABELS,
        input=InputContract(),
        embedding_size=1280,
        cam_shape=(7, 7),
        temperature=2.0,
        training={},
        data=DataSource(
            name="drawn",
            url="about:blank",
            licence="none",
            citation="none",
            n_tiles=1,
            n_slides=1,
            n_cases=1,
            tiles_by_label={},
            mixed_tiles="viable",
            table_sha256=_NO_HASH,
            index_sha256=_NO_HASH,
        ),
        weights=WeightsSource(name="none", licence="none", sha256=None),
        metrics=(),
        assessment=record,
        software={},
        files=files,
    )


def build_bundle(
    models_dir: Path, version: str = "1", record: AssessmentRecord | None = None
) -> Path:
    """Write a bundle whose network and golden tile have the logits of `FakeRuntime`.

    With a record, the bundle also contains `tests.records.reference_embeddings`.
    """
    root = models_dir / MODEL_NAME / version
    golden_dir = root / GOLDEN_NAME
    golden_dir.mkdir(parents=True)
    tile_bytes = plain_tile((200, 120, 160))
    (golden_dir / "pink.png").write_bytes(tile_bytes)
    logits = FakeRuntime().infer(decode_tile(tile_bytes)[np.newaxis]).logits[0]
    (golden_dir / GOLDEN_EXPECTED_NAME).write_text(
        json.dumps({"logits": {"pink.png": logits.tolist()}})
    )
    shutil.copyfile(mean_colours.FILE, root / LITERT_NAME)
    if record is not None:
        ReferenceTiles(reference_embeddings()).write(root / REFERENCE_NAME)
    write_manifest(root / MANIFEST_NAME, manifest_of(root, version, record))
    return root


@functools.cache
def small_models() -> Path:
    """A folder with one bundle, for the programs that tests start; no test may change it."""
    folder = Path(tempfile.mkdtemp(prefix="osteo-models-"))
    atexit.register(shutil.rmtree, folder)
    build_bundle(folder, record=a_record())
    return folder


def opener_of(runtime: FakeRuntime) -> Callable[[Bundle, Settings, Metrics], FakeRuntime]:
    """Returns the opener that `create_app` calls instead of opening LiteRT."""
    return lambda _bundle, _settings, _metrics: runtime
