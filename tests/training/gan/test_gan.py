"""A GAN never saw the test tiles of a fold, and its tiles are marked as synthetic."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.training.command_line import run, succeed
from tests.training.eager import run_eagerly
from training.config import TrainingConfig, read_config
from training.data.annotations import find_table, read_table
from training.data.drawn_tiles import encode_tile
from training.data.index import Index, build_index, read_index
from training.data.labels import LABEL_IDS
from training.data.splits import fold_positions, read_split
from training.errors import LeakError, RunError
from training.features.extract import read_tiles
from training.features.prepare import prepare_features
from training.fit.classifier import fit_classifier
from training.gan.jobs import fit_generators, plan_generators
from training.gan.record import GanSettings, begin_folder, read_record
from training.gan.supply import (
    choose_generator,
    find_records,
    seen_tiles,
    supply_synthetic,
    training_parts,
)
from training.gan.trainer import CHECKPOINT_NAME
from training.runs.records import class_indices_of

pytestmark = pytest.mark.tensorflow

ROOT = Path(__file__).parents[3]
SIDE_PX = 64
"""Side of the classifier's tiles; the generators make half of it."""
TINY = GanSettings(side_px=32, width=8, epochs=1, tiles_per_epoch=4, batch_size=4, latent_size=8)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("OSTEO_DATA_DIR", "OSTEO_WEIGHTS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def with_gan(tiny_config: Path) -> TrainingConfig:
    text = tiny_config.read_text().replace("epochs = 1\n", "epochs = 0\n")
    text = text.replace(
        "[network]\n", f'[network]\nsystem = "tiny"\nbackbone.side_px = {SIDE_PX}\n'
    )
    tiny_config.write_text(f'{text}\n[gan]\nproportion = 0.5\ndir = "gan"\n')
    return read_config(tiny_config)


@pytest.fixture(scope="module")
def fitted_dir(drawn_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An index, a split by slide and a tiny generator for each fold."""
    folder = tmp_path_factory.mktemp("fitted")
    index = folder / "runs" / "index.json"
    given = ("--index", index, "--out", folder / "runs" / "slide.json", "--folds", 2)
    succeed("index", "--data-dir", drawn_dir, "--tile-side-px", 128, "--out", index)
    succeed("split", "--kind", "slide", *given)
    found, sha256 = read_index(index)
    chosen = read_split(folder / "runs" / "slide.json", sha256)
    jobs = plan_generators(folder / "gan", TINY, found, sha256, chosen)
    done: list[tuple[str, int]] = []
    with run_eagerly():
        for job in jobs:
            if done:  # Resumes at the end of the first: no test compares their weights.
                begin_folder(*job)
                shutil.copy(jobs[0][0] / CHECKPOINT_NAME, job[0])
            done += [(at.name, len(on.seen)) for at, on in fit_generators([job], found, drawn_dir)]
    assert done == [("slide-1", 6), ("slide-2", 6)]
    return folder


@pytest.fixture
def fitted(fitted_dir: Path, tmp_path: Path) -> Index:
    """A copy in the working folder, which a test may change."""
    shutil.copytree(fitted_dir, tmp_path, dirs_exist_ok=True)
    return read_index(Path("runs/index.json"))[0]


@pytest.mark.usefixtures("eagerly")
def test_synthetic_tiles_train_a_fold_and_are_never_tested(
    fitted: Index, with_gan: TrainingConfig, drawn_dir: Path
) -> None:
    split, _ = read_split(Path("runs/slide.json"), read_index(Path("runs/index.json"))[1])
    folds = [fold_positions(fitted, fold) for fold in split.folds]
    synthetic = supply_synthetic(with_gan, fitted, training_parts(fitted, [split], whole=False))
    assert synthetic is not None
    for train, test in folds:
        added = synthetic.added_to(train, test)
        # Six tiles, two of each label: half as many synthetic ones are one of each.
        assert (added >= 12).sum() == 3
        assert not set(added) & set(test)
    real = read_tiles(fitted, drawn_dir, SIDE_PX)
    tiles, labels, _ = synthetic.appended_to(real, class_indices_of(fitted), None)
    assert len(tiles) == 18
    assert tiles[17].shape == (SIDE_PX, SIDE_PX, 3)
    assert labels[12:].tolist() == [0, 1, 2] * 2
    features = prepare_features(real, labels[:12], with_gan, synthetic=synthetic)
    train, test = folds[0]
    fit = fit_classifier(features, with_gan, train, test, seed=0)
    assert fit.test_logits.shape == (6, 3)
    assert fit.embeddings is not None
    assert len(fit.embeddings) == 12
    changed = features.pooled.copy()
    changed[12:] += 1.0
    other = fit_classifier(replace(features, pooled=changed), with_gan, train, test, seed=0)
    assert not np.array_equal(other.test_logits, fit.test_logits), "synthetic tiles teach"
    with pytest.raises(LeakError, match="names a synthetic tile"):
        fit_classifier(features, with_gan, train, np.append(test, 12), seed=0)


@pytest.mark.usefixtures("eagerly")
def test_fit_uses_synthetic_tiles_and_records_them(
    fitted: Index, with_gan: TrainingConfig, drawn_dir: Path, tiny_config: Path
) -> None:
    common = ("fit", "--data-dir", drawn_dir, "--config", tiny_config)
    assert "of 12 correct" in succeed(*common, "--split", "runs/slide.json", "--out", "run")
    answers = Path("run/run.json").read_text()
    assert answers.count('"fold": "fold') == 12
    assert '"proportion": 0.5' in answers
    assert len(fitted.tiles) * with_gan.gan.proportion == 6
    # They saw only some of the tiles that a fit on all tiles trains on, which is no leak.
    everything = training_parts(fitted, [], whole=True)
    assert choose_generator(find_records(Path("gan")), fitted, everything[0], with_gan)


def test_fit_refuses_a_generator_of_all_tiles_for_a_fold(
    fitted: Index, with_gan: TrainingConfig, drawn_dir: Path, tiny_config: Path
) -> None:
    record = read_record(Path("gan/slide-1"))
    everything = record.model_copy(update={"seen": seen_tiles(fitted, np.arange(12))})
    Path("gan/slide-1/gan.json").write_text(everything.model_dump_json())
    shutil.rmtree("gan/slide-2")
    common = ("fit", "--data-dir", drawn_dir, "--config", tiny_config)
    result = run(*common, "--split", "runs/slide.json", "--out", "run")
    assert result.exit_code == 1
    output = " ".join(result.output.split())
    assert "the closest one saw 6 others" in output
    assert "osteo-train gan fit --split" in output
    assert not Path("run").exists()
    assert with_gan.gan.dir == "gan"


def test_choose_generator_compares_the_bytes_of_tiles_and_not_their_names(
    fitted: Index, with_gan: TrainingConfig
) -> None:
    """What counts is the tile's bytes."""
    index_sha256 = read_index(Path("runs/index.json"))[1]
    split, _ = read_split(Path("runs/slide.json"), index_sha256)
    _, test = fold_positions(fitted, split.folds[0])
    path = Path("gan/slide-1/gan.json")
    record = read_record(path.parent)
    hidden = record.seen[0].model_copy(update={"sha256": fitted.tiles[test[0]].sha256})
    path.write_text(
        record.model_copy(update={"seen": (hidden, *record.seen[1:])}).model_dump_json()
    )
    with pytest.raises(LeakError, match="saw only the 6 training tiles"):
        supply_synthetic(with_gan, fitted, training_parts(fitted, [split], whole=False))


def test_command_without_generators_refuses_synthetic_tiles(
    drawn_index: Index, drawn_dir: Path, with_gan: TrainingConfig
) -> None:
    with pytest.raises(RunError, match=r"gan\.proportion asks for synthetic tiles"):
        prepare_features(
            read_tiles(drawn_index, drawn_dir), class_indices_of(drawn_index), with_gan
        )


@pytest.mark.usefixtures("eagerly")
def test_samples_are_marked_as_synthetic_and_refused_by_an_index(
    fitted: Index, collection: Path, tmp_path: Path
) -> None:
    assert "6 synthetic tiles" in succeed(
        "gan", "sample", "gan/slide-2", "--count", 2, "--out", "out"
    )
    names = sorted(path.name for path in Path("out").glob("synthetic-*.png"))
    assert names == [f"synthetic-{label}-{i:04}.png" for label in LABEL_IDS for i in range(2)]
    with Image.open(Path("out") / names[0]) as image:
        assert "Synthetic" in image.info["Comment"]
        pixels = np.asarray(image)
    # Even as a JPEG among the collection's tiles, with a row in the table, it is refused.
    stem = names[0].removesuffix(".png")
    (collection / f"Training-Set-1/set1/{stem}.jpg").write_bytes(encode_tile(pixels, "JPEG"))
    with (collection / "features.csv").open("a") as stream:
        stream.write(f"{stem},Non-Tumor\n")
    index, problems = build_index(collection, read_table(find_table(collection)), side_px=128)
    assert any("the name must be CASE SLIDE-X-Y" in str(problem) for problem in problems)
    assert not any("synthetic" in tile.name for tile in index.tiles)
    assert tmp_path == Path.cwd()
    assert len(fitted.tiles) == 12
