"""The commands of docs/training.md work as they are printed, on few tiles with a small network."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from app.bundle import Bundle, check_golden_tiles, open_bundle
from app.core.tile import decode_tile
from app.runtime.litert import LiteRtRuntime
from app.runtime.savedmodel import SavedModelRuntime
from tests.conftest import REPOSITORY
from tests.contract.pages import code_blocks
from tests.contract.shell import install_osteo_train, run_shell, warm_osteo_train
from tests.training.conftest import RAW_BY_LABEL, write_collection
from training.config import RELEASED_CONFIG, read_config
from training.data.drawn_tiles import draw_tile, encode_tile
from training.data.index import read_index

# Each command of the page is tested by itself in tests/training.
pytestmark = [pytest.mark.tensorflow, pytest.mark.exhaustive]

RELEASED = read_config(RELEASED_CONFIG)
BUNDLE_DIR = Path(RELEASED.model_name) / RELEASED.model_version
BLOCKS = code_blocks("docs/training.md", "")
TILE_SIDE_PX = 256
SMALL = f"""
import training.config as c
from tests.training.tiny_system import register
from training.evaluation import plots
from training.reliability import bundle_assessment, ood_samples
from training.runs.code_identity import code_sha256
register()
code_sha256()  # which every fit and the release need
plots._DPI = 20
SMALL_BACKBONE = {{"layers": ["conv1", "last"], "side_px": 32, "tile_side_px": 64}}
ood_samples.N_PER_KIND = bundle_assessment.MAX_TILES = 1
read_config = c.read_config
def read_small_config(path, *options):
    settings = read_config(path, *options).model_dump()
    settings["data"]["tile_side_px"] = {TILE_SIDE_PX}
    settings["network"] |= {{"system": "tiny", "backbone": SMALL_BACKBONE}}
    settings["network"]["texture_weight"] = 0.0
    settings["augment"]["n_views"] = settings["head"]["epochs"] = 1
    settings["splits"]["random_folds"] = 1
    settings["fine_tune"] |= {{"epochs": 0, "first_layer": None}}
    return c.TrainingConfig.model_validate(settings)
c.read_config = read_small_config
"""
"""Texture, whose graph is most of an export, is in tests/training/release/test_logistic_release.py.
"""
IMPORTED = (
    *("training.runs.cross_validation", "training.release.assembly", "training.release.pipeline"),
    *("training.release.export", "training.evaluation.comparison"),
)
"""What most of the commands import when they run."""
NATIVE = re.compile(r"^[IWE]\d{4} |absl::InitializeLog|XNNPACK|oneDNN|rebuild TensorFlow", re.M)


@dataclass(frozen=True)
class Checkout:
    """A folder like a checkout after `make train`, in which the steps of the page were typed."""

    folder: Path
    data_dir: Path
    printed: str

    @property
    def bundle(self) -> Bundle:
        return open_bundle(self.folder / "my-models-by-step" / BUNDLE_DIR)


def write_tiles(folder: Path) -> Path:
    """18 drawn tiles: 2 cases, 6 slides, all labels on each slide."""
    rows = [
        (f"{case} A{block}-{1000 * block}-{900 * number}", label)
        for case in ("Case 3", "Case 48 - P5")
        for block in (1, 2, 3)
        for number, label in enumerate(RAW_BY_LABEL)
    ]
    return write_collection(folder, rows, TILE_SIDE_PX)


def with_values_of(commands: str, data_dir: Path) -> str:
    """The two values that the page asks the reader to set."""
    return commands.replace("/data/tcia", str(data_dir)).replace("=imagenet", "=none")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    folder = tmp_path_factory.mktemp("checkout")
    data_dir = write_tiles(tmp_path_factory.mktemp("tcia"))
    for name in ("models", "training", "requirements", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(REPOSITORY / name)
    steps = [block for block in BLOCKS if "make model" not in block and "~/marrow" not in block]
    assert len(steps) == 6  # the values, four steps, a comparison
    with warm_osteo_train(tmp_path_factory.mktemp("warm"), SMALL, *IMPORTED) as socket:
        install_osteo_train(folder, socket)
        (folder / ".venv" / "train.stamp").touch()
        (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
        printed = run_shell(with_values_of("".join(steps), data_dir), folder)
        yield Checkout(folder, data_dir, printed)


def test_the_steps_lead_to_a_bundle_and_a_comparison(checkout: Checkout) -> None:
    for words in ('{"temperature": ', "checked; the runtimes agree.", "0 of 18 tested tiles"):
        assert words in checkout.printed
    assert not NATIVE.search(checkout.printed), checkout.printed
    splits = [entry.split for entry in checkout.bundle.manifest.metrics]
    assert splits == ["slide", "patient", "random"]
    runs = checkout.folder / "runs"
    assert (runs / "compare.png").is_file()
    assert json.loads((runs / "slide" / "metrics.json").read_text())["n_tiles"] == 18
    assert (runs / "slide" / "confusion.png").is_file()
    for run in ("slide", "patient", "random", "final", "unseen"):
        assert any((runs / run / "tensorboard").rglob("*tfevents*"))


def test_the_bundle_of_the_steps_says_where_it_is_from(checkout: Checkout) -> None:
    bundle = checkout.bundle
    (printed,) = re.findall(r'^{"temperature": .*}$', checkout.printed, re.M)
    assert bundle.manifest.temperature == json.loads(printed)["temperature"]
    assert bundle.manifest.data.index_sha256 == read_index(checkout.folder / "runs/index.json")[1]
    assert bundle.manifest.training["network"]["weights"] == "none"
    total_bytes = sum(path.stat().st_size for path in bundle.path.rglob("*") if path.is_file())
    assert total_bytes < 25 * 1024**2
    assert "Not a medical device" in (bundle.path / "model-card.md").read_text()


def test_the_runtimes_agree_on_the_bundle_of_the_steps(checkout: Checkout) -> None:
    bundle = checkout.bundle
    saved_model = SavedModelRuntime(bundle.saved_model_dir)
    litert = LiteRtRuntime(bundle.litert_file, n_workers=1)
    check_golden_tiles(bundle, lambda tiles: litert.infer(tiles).logits)
    drawn = (encode_tile(draw_tile("non_tumor", 300, seed)) for seed in range(3))
    side_px = bundle.manifest.input.side_px
    tiles = np.stack([decode_tile(tile_bytes, side_px=side_px) for tile_bytes in drawn])
    one, other = saved_model.infer(tiles), litert.infer(tiles)
    for name in ("logits", "embedding", "cam"):
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), atol=1e-3)


def test_make_model_releases_a_bundle_from_the_finished_runs(checkout: Checkout) -> None:
    (command,) = (block for block in BLOCKS if "make model" in block)
    printed = run_shell(with_values_of(command, checkout.data_dir), checkout.folder)
    for kind in ("random", "slide", "patient"):
        assert f"Already finished by {kind}" in printed
    assert "checked; the runtimes agree." in printed
    assert not NATIVE.search(printed), printed
    card = open_bundle(checkout.folder / "my-models" / BUNDLE_DIR).path / "model-card.md"
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: ")
    assert re.search(r"right on \d+ of 18 of its own training tiles", " ".join(text.split()))
    assert "trip the drift monitor" in text
