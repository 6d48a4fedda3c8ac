"""The commands of docs/training.md work as they are printed, on few tiles with a small network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from app.bundle import open_bundle
from tests.conftest import REPOSITORY
from tests.contract.pages import code_blocks
from tests.contract.shell import install_osteo_train, run_shell
from tests.training.conftest import RAW_BY_LABEL, write_collection

pytestmark = pytest.mark.tensorflow

BLOCKS = code_blocks("docs/training.md", "")
SMALL = """
import training.config as c
from tests.training.tiny_system import register
from training.reliability import bundle_assessment, ood_samples
register()
ood_samples.N_PER_KIND = bundle_assessment.MAX_TILES = 1
read_config = c.read_config
def read_small_config(path, *options):
    settings = read_config(path, *options).model_dump()
    settings["network"] |= {"system": "tiny", "backbone": {"side_px": 32}}
    settings["augment"]["n_views"] = settings["head"]["epochs"] = 1
    settings["fine_tune"] |= {"epochs": 0, "first_layer": None}
    settings["splits"]["random_folds"] = 2
    return c.TrainingConfig.model_validate(settings)
c.read_config = read_small_config
"""
NATIVE = re.compile(r"^[IWE]\d{4} |absl::InitializeLog|XNNPACK|oneDNN|rebuild TensorFlow", re.M)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 drawn tiles of 1024 px: 2 cases, 6 slides, all labels on each slide."""
    rows = [
        (f"{case} A{block}-{1000 * block}-{900 * number}", label)
        for case in ("Case 3", "Case 48 - P5")
        for block in (1, 2, 3)
        for number, label in enumerate(RAW_BY_LABEL)
    ]
    return write_collection(tmp_path_factory.mktemp("tcia"), rows, 1024)


def checkout_in(folder: Path, *, is_forked: bool) -> Path:
    """A folder like a checkout after `make train`."""
    for name in ("models", "training", "requirements", "Makefile", "pyproject.toml"):
        (folder / name).symlink_to(REPOSITORY / name)
    install_osteo_train(folder, SMALL, is_forked=is_forked)
    (folder / ".venv" / "train.stamp").touch()
    return folder


def with_values_of(commands: str, data_dir: Path) -> str:
    """The two values that the page asks the reader to set."""
    return commands.replace("/data/tcia", str(data_dir)).replace("=imagenet", "=none")


def test_the_steps_lead_to_a_bundle_and_a_comparison(tmp_path: Path, data_dir: Path) -> None:
    checkout = checkout_in(tmp_path, is_forked=True)  # a dozen commands; the test below starts one
    steps = [block for block in BLOCKS if "make model" not in block and "~/marrow" not in block]
    assert len(steps) == 6  # the values, four steps, a comparison
    printed = run_shell(with_values_of("".join(steps), data_dir), checkout)
    for words in ('{"temperature": ', "checked; the runtimes agree.", "0 of 18 tested tiles"):
        assert words in printed
    assert not NATIVE.search(printed), printed
    bundle = open_bundle(checkout / "my-models-by-step" / "osteo-mobilenetv2" / "3")
    assert [entry.split for entry in bundle.manifest.metrics] == ["slide", "patient", "random"]
    assert (checkout / "runs" / "compare.png").is_file()
    for run in ("slide", "patient", "random", "final", "unseen"):
        assert any((checkout / "runs" / run / "tensorboard").rglob("*tfevents*"))


def test_make_model_releases_a_bundle_in_one_command(tmp_path: Path, data_dir: Path) -> None:
    checkout = checkout_in(tmp_path, is_forked=False)
    (command,) = (block for block in BLOCKS if "make model" in block)
    printed = run_shell(with_values_of(command, data_dir), checkout)
    assert "checked; the runtimes agree." in printed
    assert not NATIVE.search(printed), printed
    card = open_bundle(checkout / "my-models" / "osteo-mobilenetv2" / "3").path / "model-card.md"
    text = card.read_text(encoding="utf-8")
    assert text.startswith("---\nlicense: ")
    assert re.search(r"right on \d+ of 18 of its own training tiles", " ".join(text.split()))
    assert "trip the drift monitor" in text
