"""`osteo slide`: classify the tiles of whole slides, and write their necrosis report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from app.cli.endings import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_USAGE,
    STDERR,
    fail,
    plain_errors,
    say,
)
from app.cli.names import shown
from app.cli.search import reason_of
from app.core.bundle_errors import BundleError
from app.core.errors import OsteoError, RuntimeUnavailableError, counted
from app.core.slide_errors import ExtraMissingError
from app.inference.results import RESEARCH_USE
from app.runtime.cores import usable_cores
from app.serving.loading import open_classifier
from app.settings import read_settings
from app.slides.checkpoint import stored_rows
from app.slides.necrosis.specimen import specimen_of
from app.slides.results import Necrosis, SlideSummary
from app.slides.run import CHECKPOINT_NAME, SlideRun, run_slide
from app.slides.run import Progress as Told
from app.telemetry.metrics import Metrics

SPECIMEN_NAME: Final = "specimen.json"


def slide(
    paths: Annotated[
        list[Path], typer.Argument(help="Slides: files, or the folder of a DICOM series.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder for the results; it may exist.")
    ],
    mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel, if the file does not state them or is wrong."),
    ] = None,
    min_tissue: Annotated[
        float,
        typer.Option(min=0, max=1, help="Tiles with a smaller share of tissue are left out."),
    ] = 0.1,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Threads; as many as usable cores if not given.")
    ] = None,
) -> None:
    """Classify a whole slide without a server, and estimate its necrosis.

    Writes summary.json, tiles.csv, tiles.geojson (drag it into QuPath),
    heatmap.png, overlay.png and report.html. Several slides are those of one
    specimen: each gets a folder, and specimen.json has their common ratio.

    A slide:               osteo slide biopsy.svs -o biopsy/
    A specimen:            osteo slide block-*.svs -o resection/
    Without a resolution:  osteo slide scan.tif --mpp 0.5 -o scan/

    Stopped or killed, the same command resumes where it was.

    Exit code 0: all slides were classified. 1: some were not, or the results
    could not be written. 2: nothing could be tried. 130: Ctrl-C.
    """
    with plain_errors():
        settings = read_settings()
    _require_slides(paths, output)
    n_threads = threads or usable_cores()
    # An interpreter more than threads, as the service has, would take 20 MB and save nothing.
    settings = settings.model_copy(update={"workers": n_threads})
    try:
        (output / SPECIMEN_NAME).unlink(missing_ok=True)  # an older one is of other slides
    except OSError as error:
        fail(f"{shown(output)}: {reason_of(error)}.", EXIT_USAGE)
    summaries: list[tuple[SlideSummary, Path]] = []
    for path, folder in zip(paths, _folders(paths, output), strict=True):
        run = SlideRun(
            path,
            folder,
            mpp=mpp,
            min_tissue_share=min_tissue,
            min_tumor_mm2=settings.slide_min_tumor_mm2,
            n_threads=n_threads,
            limits=settings.slide_limits,
        )
        try:
            with _progress(path) as told:
                summary = run_slide(run, partial(open_classifier, settings, Metrics()), told)
        except KeyboardInterrupt:
            fail("Interrupted. The same command resumes.", EXIT_INTERRUPTED)
        except (BundleError, RuntimeUnavailableError, ExtraMissingError) as error:
            fail(str(error), EXIT_USAGE)  # no slide can be classified
        except OsteoError as error:
            say(f"{shown(path)}: {error}")
        except OSError as error:
            culprit = path if error.filename == str(path) else folder
            fail(f"{shown(culprit)}: {reason_of(error)}.", EXIT_FAILED)
        else:
            summaries.append((summary, folder))
            typer.echo(f"{shown(path)}: {_sentence(summary)}\n  {shown(folder / 'report.html')}")
            for warning in summary.warnings:
                say(f"{shown(path)}: {warning}")
    n_failed = len(paths) - len(summaries)
    if len(paths) > 1 and summaries:
        _write_specimen(summaries, n_failed, output)
    if n_failed:
        fail(f"{n_failed} of {counted(len(paths), 'slide')} could not be classified.", EXIT_FAILED)


def _require_slides(paths: Sequence[Path], output: Path) -> None:
    """End the command if nothing can be tried."""
    missing = [path for path in paths if not path.exists()]
    if missing:
        fail(f"There is no slide {shown(missing[0])}.", EXIT_USAGE)
    if len({path.resolve() for path in paths}) < len(paths):
        fail("A slide is named twice.", EXIT_USAGE)
    for path in paths:
        if path.is_dir() and output.resolve().is_relative_to(path.resolve()):
            fail(f"The results cannot go into the slide {shown(path)} itself.", EXIT_USAGE)


def _folders(paths: Sequence[Path], output: Path) -> list[Path]:
    """Where the results of each slide go."""
    if len(paths) == 1:
        return [output]
    names = [path.stem for path in paths]
    if len(set(names)) < len(names):
        names = [f"{number}-{name}" for number, name in enumerate(names, 1)]
    return [output / name for name in names]


@contextmanager
def _progress(path: Path) -> Iterator[Told]:
    """A bar on a terminal; elsewhere nothing."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total} tiles"),
        TimeRemainingColumn(),
        console=STDERR,
        transient=True,
        disable=not STDERR.is_terminal,
    )
    with bar:
        task = bar.add_task(shown(path), total=None)

        def told(stage: str, n_done: int, n_tiles: int | None) -> None:
            bar.update(task, description=f"{shown(path)}: {stage}", completed=n_done, total=n_tiles)

        yield told


def _sentence(summary: SlideSummary) -> str:
    tiles = counted(summary.tiles.n_classified, "tile")
    damaged = f", {summary.tiles.n_unreadable} unreadable" if summary.tiles.n_unreadable else ""
    return f"{tiles}{damaged}. {_ratio(summary.necrosis)}"


def _ratio(necrosis: Necrosis) -> str:
    if necrosis.ratio is None:
        return f"No necrosis ratio: {necrosis.reason}"
    widest = min(one.low for one in necrosis.intervals), max(one.high for one in necrosis.intervals)
    return (
        f"Necrosis ratio {necrosis.ratio:.2f} (95 % intervals together: {widest[0]:.2f} to "
        f"{widest[1]:.2f}; Huvos group: {necrosis.huvos_group}). {RESEARCH_USE}"
    )


def _write_specimen(
    summaries: Sequence[tuple[SlideSummary, Path]], n_missing: int, output: Path
) -> None:
    """Write the common ratio of all slides that were classified."""
    with plain_errors(EXIT_FAILED):
        specimen = specimen_of(
            [(summary, stored_rows(folder / CHECKPOINT_NAME)) for summary, folder in summaries],
            n_missing,
        )
    try:
        (output / SPECIMEN_NAME).write_text(
            json.dumps(specimen.model_dump(mode="json"), indent=2) + "\n", encoding="utf-8"
        )
    except OSError as error:
        fail(f"{shown(output)}: {reason_of(error)}.", EXIT_FAILED)
    what = "Specimen, incomplete" if n_missing else "Specimen"
    typer.echo(f"{what}: {_ratio(specimen.necrosis)}\n  {shown(output / SPECIMEN_NAME)}")
