"""Give a bundle to people who do not use this package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import guarded
from training.commands.output import say
from training.console.plural import plural

app = typer.Typer()


@app.command()
@guarded
def prepare(
    sources: Annotated[
        list[Path], typer.Argument(help="Tiles, and folders of tiles (JPEG, PNG, TIFF, WebP).")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the PNGs.")],
    side_px: Annotated[
        int, typer.Option(min=16, max=2048, help="`input.side_px` of the bundle's manifest.")
    ] = 224,
) -> None:
    """Write tiles as the model sees them, as PNGs, so that other programs get the same answers.

    Example: `osteo-train prepare ~/tcia/Training-Set-1 --out prepared`
    """
    from training.release.prepared_tiles import write_prepared_tiles

    n_tiles = write_prepared_tiles(sources, out, side_px)
    say(f"{out}: {plural(n_tiles, 'tile')} of {side_px} x {side_px} px.")


@app.command()
@guarded
def card(
    bundle_dir: Annotated[Path, typer.Argument(help="A bundle.")],
) -> None:
    """Print a bundle's model card with the YAML header that Hugging Face reads.

    The cards of versions 1 to 3 of the released model have no header, and a released bundle never
    changes.

    Example: `osteo-train card models/osteo-mobilenetv2/4 > README.md`
    """
    from app.bundle import open_bundle
    from app.core.manifest import MODEL_CARD_NAME
    from training.release.card_header import card_header, without_header

    bundle = open_bundle(bundle_dir.resolve())
    written = (bundle.path / MODEL_CARD_NAME).read_text(encoding="utf-8")
    typer.echo(card_header(bundle.manifest) + without_header(written), nl=False)
