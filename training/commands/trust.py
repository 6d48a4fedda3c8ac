"""Recalibrate a bundle, and test it on changed tiles and on other images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import DataDir, IndexFile, guarded
from training.commands.output import print_rows, say

app = typer.Typer()

BundleDir = Annotated[Path, typer.Argument(help="A bundle, such as `models/osteo-mobilenetv2/4`.")]


@app.command()
@guarded
def calibrate(
    bundle_dir: BundleDir,
    data_dir: DataDir,
    index_file: IndexFile,
    widen_gate: Annotated[
        bool,
        typer.Option(
            "--widen-gate",
            help="Widen the input gate so that it admits these tiles, whose stain may differ.",
        ),
    ] = False,
) -> None:
    """Recalibrate a bundle on a site's own labelled tiles, and write it as the next version.

    Temperature, prediction sets and drift reference are fitted anew; the graphs stay the same. The
    model must not have been trained on any of these tiles.

    Example: `osteo-train calibrate models/osteo-mobilenetv2/4 --index site.json --data-dir ~/site`
    """
    from app.bundle import open_bundle
    from training.data.index import read_index
    from training.data.labelled_tiles import LabelledTiles
    from training.data.tiles import TileStream
    from training.release.recalibrate import recalibrate

    bundle = open_bundle(bundle_dir.resolve())
    index, index_sha256 = read_index(index_file)
    tiles = TileStream(index, data_dir, bundle.manifest.input.side_px)
    labelled = LabelledTiles(index, index_sha256, data_dir, tiles)
    written = recalibrate(bundle, labelled, widen_gate)
    temperature = open_bundle(written).manifest.temperature
    say(f"{written}: temperature {temperature:g} (was {bundle.manifest.temperature:g}), checked.")


@app.command()
@guarded
def robustness(
    bundle_dir: BundleDir,
    data_dir: DataDir,
    index_file: IndexFile = Path("runs/index.json"),
    out: Annotated[
        Path | None, typer.Option(help="File to which the table is also written, as JSON.")
    ] = None,
) -> None:
    """Measure how predictions change under compression, rotation, light, stain, size and dust.

    Each changed tile is compared with the original; labels are not used.

    Example: `osteo-train robustness models/osteo-mobilenetv2/4 --index runs/index.json`
    """
    import json

    from app.bundle import open_bundle
    from training.console.progress import tracked
    from training.data.index import read_index
    from training.reliability.predictor import Predictor
    from training.reliability.robustness import measure_robustness, read_files

    manifest = open_bundle(bundle_dir.resolve()).manifest
    index, _ = read_index(index_file)
    files = read_files(tracked("Changing tiles")(index.tiles), data_dir)
    with Predictor(bundle_dir / "model.tflite", manifest.temperature) as predictor:
        entries = measure_robustness(predictor, files, manifest.input.side_px)
    print_rows(
        ("change", "tiles", "unchanged", "mean change", "largest"),
        [
            (
                e.change,
                str(e.n_tiles),
                f"{e.unchanged:.1%}",
                f"{e.mean_difference:.3f}",
                f"{e.max_difference:.3f}",
            )
            for e in entries
        ],
    )
    if out is not None:
        content = json.dumps([entry.model_dump() for entry in entries], indent=1)
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(content + "\n", encoding="utf-8")
        say(str(out))


@app.command()
@guarded
def gate(
    bundle_dir: BundleDir,
    folders: Annotated[
        list[Path], typer.Argument(help="Folders of images; each is one row of the table.")
    ],
) -> None:
    """Count the images of a folder that the input gate would send to review, and why.

    Example: `osteo-train gate models/osteo-mobilenetv2/4 holiday-photos our-tiles`
    """
    from app.bundle import open_bundle
    from training.reliability.flag_rates import flag_rate_of_folder

    bundle = open_bundle(bundle_dir.resolve())
    rows: list[Sequence[str]] = []
    for folder in folders:
        entry, n_unreadable = flag_rate_of_folder(bundle, folder)
        reasons = ", ".join(f"{reason} {share:.1%}" for reason, share in entry.by_reason.items())
        interval = f"{entry.low:.1%} to {entry.high:.1%}"
        rows.append(
            (
                entry.kind,
                str(entry.n_pictures),
                str(n_unreadable),
                f"{entry.flagged:.1%}",
                interval,
                reasons,
            )
        )
    header = ("folder", "images", "unreadable", "flagged", "95 % interval", "reasons")
    print_rows(header, rows)
