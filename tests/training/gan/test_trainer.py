"""A GAN learns what it is shown, and resumes after a kill."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from training.errors import GanError
from training.gan import trainer
from training.gan.record import GanRecord, GanSettings, SeenTile, begin_folder, read_record
from training.gan.trainer import CHECKPOINT_NAME, Gan, fit_gan, open_generator

pytestmark = pytest.mark.tensorflow

TINY = GanSettings(side_px=32, width=8, epochs=1, tiles_per_epoch=4, batch_size=4, latent_size=8)


def two_kinds(n: int, side_px: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Dark violet tiles of the first label, light pink ones of the third."""
    rng = np.random.default_rng(0)
    shape = (n, side_px, side_px, 3)
    dark, light = rng.normal((90, 40, 120), 12, shape), rng.normal((235, 190, 215), 12, shape)
    tiles = np.clip(np.concatenate([dark, light]), 0, 255).astype(np.uint8)
    return tiles, np.repeat([0, 2], n)


@pytest.mark.exhaustive
def test_gan_learns_which_label_is_dark_and_which_is_light() -> None:
    tiles, labels = two_kinds(12, 32)
    fast = {"batch_size": 4, "learning_rate": 1e-3, "averaging": 0.9}
    gan = Gan(
        GanSettings.model_validate({"side_px": 32, "width": 8, "tiles_per_epoch": 160} | fast)
    )
    for _ in range(5):
        gan.run_epoch(tiles, labels)
    made = gan.sample(np.repeat([0, 2], 16), seed=1).astype(np.float64)
    dark, light = made[:16].mean((1, 2)), made[16:].mean((1, 2))
    assert np.abs(dark.mean(0) - (90, 40, 120)).max() < 30
    assert np.abs(light.mean(0) - (235, 190, 215)).max() < 30
    # Every single tile has the brightness of its label, not only their average.
    assert dark.mean(1).max() < light.mean(1).min()
    # Different noise gives different tiles of a label.
    assert made[:16].std(axis=0).mean() > 2


@pytest.fixture(scope="module")
def tiny_gan() -> Gan:
    return Gan(TINY)


def record_of(settings: GanSettings, n: int = 4) -> GanRecord:
    seen = tuple(SeenTile(name=f"tile {i}", sha256=f"{i:064}", label="non_tumor") for i in range(n))
    return GanRecord(settings=settings, index_sha256="", split_sha256=None, fold=None, seen=seen)


@pytest.mark.usefixtures("both_ways")
def test_gan_resumed_from_its_checkpoint_equals_an_uninterrupted_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "CHECKPOINT_EVERY", 1)
    tiles, labels = two_kinds(2, 32)
    record = record_of(TINY.model_copy(update={"epochs": 2, "learning_rate": 4e-3}))
    (tmp_path / "whole").mkdir()

    def keep_first(_: Gan, epoch: int) -> None:
        if epoch == 1:
            shutil.copytree(tmp_path / "whole", tmp_path / "stopped")

    whole = fit_gan(tmp_path / "whole", record, tiles, labels, iter, keep_first)
    with pytest.raises(GanError, match="1 of 2 epochs"):
        open_generator(tmp_path / "stopped", record)
    epochs: list[int] = []
    resumed = fit_gan(
        tmp_path / "stopped", record, tiles, labels, iter, lambda _, epoch: epochs.append(epoch)
    )
    assert epochs == [2]
    np.testing.assert_allclose(resumed.losses, whole.losses, rtol=1e-4)
    wanted = np.array([0, 2, 0, 2])
    one, other = (gan.sample(wanted, 5).astype(int) for gan in (whole, resumed))
    assert np.abs(one - other).max() <= 2


@pytest.mark.parametrize(
    "damage",
    [
        lambda _: b"",
        lambda _: b"PK\x03\x04 nothing of worth",
        lambda content: content[:3000],
        lambda content: content.replace(b"averaged_001", b"averaged_999"),
    ],
)
def test_a_damaged_checkpoint_is_one_sentence(
    tiny_gan: Gan, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    path = tmp_path / CHECKPOINT_NAME
    tiny_gan.save(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(GanError, match="is damaged"):
        tiny_gan.load(path)


def test_a_checkpoint_of_another_network_is_one_sentence(tiny_gan: Gan, tmp_path: Path) -> None:
    path = tmp_path / CHECKPOINT_NAME
    Gan(TINY.model_copy(update={"width": 16})).save(path)
    with pytest.raises(GanError, match="is damaged"):
        tiny_gan.load(path)


def test_save_reports_a_full_disk_in_one_sentence(tiny_gan: Gan, tmp_path: Path) -> None:
    with pytest.raises(GanError, match="cannot be written"):
        tiny_gan.save(tmp_path / "nowhere" / CHECKPOINT_NAME)


def test_begin_folder_refuses_the_folder_of_another_generator(tmp_path: Path) -> None:
    begin_folder(tmp_path / "gan", record_of(TINY))
    begin_folder(tmp_path / "gan", record_of(TINY))
    with pytest.raises(GanError, match="other settings or tiles"):
        begin_folder(tmp_path / "gan", record_of(TINY, n=5))
    (tmp_path / "gan" / "gan.json").write_text("{}")
    with pytest.raises(GanError, match="not a generator's record"):
        read_record(tmp_path / "gan")
