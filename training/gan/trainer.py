"""Fit a GAN epoch by epoch; after a kill it resumes from the last checkpoint.

All randomness comes from the seed and the epoch's number, so an interrupted fit ends with the same
weights as an uninterrupted one. Losses are hinge losses; every label is shown equally often; real
tiles are shown in all eight rotations and mirror images, since a tissue section has no orientation.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from training.console.plural import plural
from training.data.labels import COLLECTION_LABELS
from training.errors import GanError
from training.fit.optimizers import without_leak
from training.gan.networks import build_discriminator, build_generator
from training.gan.record import GanRecord, GanSettings
from training.gan.step import draw_batch, make_step
from training.storage.atomic import write_whole
from training.storage.disk import RESUMES, writing

CHECKPOINT_NAME: Final = "checkpoint.npz"
CHECKPOINT_EVERY: Final = 5
"""In epochs; there is always a checkpoint after the last one."""
_ADAM: Final = {"beta_1": 0.0, "beta_2": 0.99}
"""As in SAGAN (Zhang et al. 2019, arXiv:1805.08318); momentum makes the two networks oscillate."""

Track = Callable[[Sequence[int]], Iterable[int]]


class Gan:
    """Both networks, their optimizers, and the generator's averaged weights."""

    def __init__(self, settings: GanSettings, n_labels: int = len(COLLECTION_LABELS)) -> None:
        import keras

        keras.utils.set_random_seed(settings.seed)
        self.settings = settings
        self._generator = build_generator(
            settings.side_px, settings.latent_size, settings.width, n_labels
        )
        self._discriminator = build_discriminator(settings.side_px, settings.width, n_labels)
        self._optimizers = [
            without_leak(keras.optimizers.Adam(settings.learning_rate, **_ADAM)) for _ in range(2)
        ]
        self._optimizers[0].build(self._generator.trainable_variables)
        self._optimizers[1].build(self._discriminator.trainable_variables)
        self._averaged = [v.numpy() for v in self._generator.trainable_variables]
        self._step = make_step(self._generator, self._discriminator, self._optimizers)
        self._infer: Any = None
        self.losses: list[tuple[float, float]] = []
        """Mean loss of generator and discriminator, one pair an epoch."""

    def run_epoch(
        self, tiles: NDArray[np.uint8], class_indices: NDArray[np.int64]
    ) -> tuple[float, float]:
        """Fit one more epoch.

        Args:
            tiles: uint8 `[n, side, side, 3]`.
            class_indices: int64 `[n]`, positions of the labels.

        Returns:
            Mean loss of generator and discriminator.
        """
        settings, epoch = self.settings, len(self.losses)
        rng = np.random.default_rng([settings.seed, epoch])
        losses = []
        for _ in range(-(-settings.tiles_per_epoch // settings.batch_size)):
            shown, labels = draw_batch(tiles, class_indices, settings.batch_size, rng)
            noise = rng.standard_normal((2, settings.batch_size, settings.latent_size))
            wanted = rng.choice(labels, (2, settings.batch_size))
            half = settings.batch_size // 2
            wanted[1, half:] = wanted[1, :half]  # pairs of one label, from different noise
            seeds = rng.integers(2**31, size=(3, 2), dtype=np.int32)
            losses.append(
                self._step(
                    shown.astype(np.float32) / 127.5 - 1.0,
                    labels.astype(np.int32),
                    noise.astype(np.float32),
                    wanted.astype(np.int32),
                    seeds,
                )
            )
            self._average()
        generator, discriminator = np.array(losses, dtype=np.float64).mean(axis=0)
        self.losses.append((float(generator), float(discriminator)))
        return self.losses[-1]

    def sample(self, class_indices: NDArray[np.int64], seed: int | Sequence[int]) -> NDArray[Any]:
        """Generate tiles with the averaged generator.

        Args:
            class_indices: int64 `[n]`, the label of each tile.
            seed: decides the noise; equal arguments give equal tiles.

        Returns:
            uint8 `[n, side, side, 3]` RGB.
        """
        import tensorflow as tf

        if self._infer is None:
            self._infer = tf.function(
                lambda noise, label: self._generator([noise, label], training=False),
                autograph=False,
                reduce_retracing=True,
            )
        side, size = self.settings.side_px, self.settings.latent_size
        noise = np.random.default_rng(seed).standard_normal((len(class_indices), size))
        made = np.empty((len(class_indices), side, side, 3), np.uint8)
        current = self._exchange(self._averaged)
        for start in range(0, len(made), 64):
            batch = slice(start, start + 64)
            values = self._infer(
                tf.constant(noise[batch], tf.float32), tf.constant(class_indices[batch], tf.int32)
            )
            made[batch] = np.clip(np.rint((values.numpy() + 1.0) * 127.5), 0, 255)
        self._exchange(current)
        return made

    def save(self, path: Path) -> None:
        """Write everything needed to resume, whole or not at all.

        Raises:
            GanError: the disk is full or not writable.
        """
        arrays = dict(self._named_arrays())
        arrays["losses"] = np.array(self.losses, dtype=np.float64).reshape(-1, 2)
        with writing(path, GanError, after=RESUMES):
            write_whole(path, lambda stream: np.savez(stream, **arrays))  # type: ignore[arg-type] # takes names and arrays

    def load(self, path: Path) -> None:
        """Restore everything from a checkpoint.

        Raises:
            GanError: it is damaged, or belongs to another network.
        """
        try:
            # Given a path, NumPy would leave a damaged file open.
            with path.open("rb") as stream, np.load(stream) as arrays:
                found = {name: arrays[name] for name in arrays}
            self._restore(found)
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
            raise GanError(f"{path} is damaged. Remove its folder and fit again.") from error

    def _restore(self, found: dict[str, NDArray[Any]]) -> None:
        named = dict(self._named_arrays())
        if found.keys() != named.keys() | {"losses"}:
            raise ValueError("other arrays")
        if any(found[name].shape != array.shape for name, array in named.items()):
            raise ValueError("other shapes")
        for part, variables in self._variables():
            for i, variable in enumerate(variables):
                variable.assign(found[f"{part}_{i:03}"])
        self._averaged = [found[f"averaged_{i:03}"] for i in range(len(self._averaged))]
        self.losses = [(float(g), float(d)) for g, d in found["losses"]]

    def _variables(self) -> Iterator[tuple[str, list[Any]]]:
        yield "generator", self._generator.variables
        yield "discriminator", self._discriminator.variables
        yield "adam_generator", self._optimizers[0].variables
        yield "adam_discriminator", self._optimizers[1].variables

    def _named_arrays(self) -> Iterator[tuple[str, NDArray[Any]]]:
        for part, variables in self._variables():
            for i, variable in enumerate(variables):
                yield f"{part}_{i:03}", np.asarray(variable.numpy())
        for i, array in enumerate(self._averaged):
            yield f"averaged_{i:03}", array

    def _average(self) -> None:
        keep, now = self.settings.averaging, self._generator.trainable_variables
        self._averaged = [
            keep * mean + (1.0 - keep) * variable.numpy()
            for mean, variable in zip(self._averaged, now, strict=True)
        ]

    def _exchange(self, values: list[NDArray[Any]]) -> list[NDArray[Any]]:
        """Set the generator's weights, and return the previous ones."""
        variables = self._generator.trainable_variables
        before = [variable.numpy() for variable in variables]
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return before


def _restored(folder: Path, record: GanRecord) -> Gan:
    """The GAN of the last checkpoint, or a new one."""
    gan = Gan(record.settings, len(record.label_set))
    path = folder / CHECKPOINT_NAME
    if path.exists():
        gan.load(path)
    return gan


def open_generator(folder: Path, record: GanRecord) -> Gan:
    """Open a generator whose fit is finished.

    Raises:
        GanError: the fit is not finished, or the checkpoint is damaged.
    """
    gan = _restored(folder, record)
    if len(gan.losses) < record.settings.epochs:
        raise GanError(
            f"{folder} is fitted for {len(gan.losses)} of "
            f"{plural(record.settings.epochs, 'epoch')}. Run 'osteo-train gan fit' again: it "
            "resumes where it stopped."
        )
    return gan


def fit_gan(
    folder: Path,
    record: GanRecord,
    tiles: NDArray[np.uint8],
    class_indices: NDArray[np.int64],
    track: Track,
    show: Callable[[Gan, int], None],
) -> Gan:
    """Fit up to the epochs of the record, from the last checkpoint if there is one.

    Args:
        folder: contains the checkpoint.
        record: the settings.
        tiles: uint8 `[n, side, side, 3]` with the record's side; only those of `record.seen`.
        class_indices: int64 `[n]`, positions of the labels.
        track: wraps the epochs to show progress.
        show: called with the GAN and the number of finished epochs after each checkpoint.

    Raises:
        GanError: the checkpoint is damaged or not writable, or the losses are not finite.
    """
    gan = _restored(folder, record)
    epochs = record.settings.epochs
    for epoch in track(range(len(gan.losses) + 1, epochs + 1)):
        losses = gan.run_epoch(tiles, class_indices)
        if not np.isfinite(losses).all():
            raise GanError(f"The losses are not finite after epoch {epoch}. Lower learning_rate.")
        if epoch % CHECKPOINT_EVERY == 0 or epoch == epochs:
            gan.save(folder / CHECKPOINT_NAME)
            show(gan, epoch)
    return gan
