"""Pictures of a fit: a grid of samples after each checkpoint, and the losses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from training.errors import GanError
from training.evaluation.plots import empty_figure, label_axes
from training.gan.record import GanRecord
from training.gan.trainer import Gan
from training.storage.disk import writing

GRID_COLUMNS: Final = 8
_GRID_SEED: Final = 7
"""The same noise in every epoch, so that the grids show how a tile develops."""
_GAP_PX: Final = 4
_CAPTION_PX: Final = 16
_DPI: Final = 110


def write_progress(folder: Path, record: GanRecord, gan: Gan, epoch: int) -> None:
    """Write `grid-epoch-NNNN.png`, `losses.csv` and `losses.png` into the generator's folder.

    Raises:
        GanError: the folder cannot be written.
    """
    labels = record.class_indices
    wanted = np.repeat(labels, GRID_COLUMNS)
    grid = draw_grid(gan.sample(wanted, _GRID_SEED), [record.label_set.names[i] for i in labels])
    rows = [f"{i},{g:.6f},{d:.6f}" for i, (g, d) in enumerate(gan.losses, start=1)]
    with writing(folder, GanError):
        grid.save(folder / f"grid-epoch-{epoch:04}.png")
        text = "\n".join(["epoch,generator,discriminator", *rows]) + "\n"
        (folder / "losses.csv").write_text(text, encoding="utf-8")
        _plot_losses(folder / "losses.png", gan.losses)


def draw_grid(tiles: NDArray[np.uint8], names: Sequence[str]) -> Image.Image:
    """Draw one row of `GRID_COLUMNS` tiles for each label, under the label's name.

    Args:
        tiles: uint8 `[len(names) * GRID_COLUMNS, side, side, 3]`.
        names: label names, one for each row.
    """
    side = tiles.shape[1]
    step, band = side + _GAP_PX, side + _GAP_PX + _CAPTION_PX
    page = Image.new("RGB", (GRID_COLUMNS * step + _GAP_PX, len(names) * band + _GAP_PX), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for row, name in enumerate(names):
        pen.text((_GAP_PX, row * band), f"{name}, synthetic", "black", font)
        for column in range(GRID_COLUMNS):
            tile = Image.fromarray(tiles[row * GRID_COLUMNS + column])
            page.paste(tile, (_GAP_PX + column * step, row * band + _CAPTION_PX))
    return page


def _plot_losses(path: Path, losses: Sequence[tuple[float, float]]) -> None:
    figure = empty_figure(5.6, 3.4)
    axes = figure.subplots()
    epochs = range(1, len(losses) + 1)
    for column, name, colour in ((0, "generator", "#2b5c8a"), (1, "discriminator", "#d9822b")):
        axes.plot(epochs, [pair[column] for pair in losses], color=colour, label=name)
    label_axes(axes, "epoch", "hinge loss")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=_DPI)
