"""Fetch the collection's files over HTTP, and report what they contain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from training.commands.options import ConfigFile, DataDir, LayoutOption, TableOption, guarded
from training.commands.output import plain, print_rows, say
from training.config import RELEASED_CONFIG, read_config
from training.console.plural import plural
from training.console.progress import ERRORS
from training.data.labels import RAW_LABELS

app = typer.Typer(name="dataset", no_args_is_help=True)


@app.callback()
def dataset() -> None:
    """Fetch the collection, and report what it contains.

    `osteo-train dataset fetch --url https://mirror.example/osteosarcoma/ --data-dir ~/tcia`

    `osteo-train dataset report --data-dir ~/tcia`
    """


@app.command()
@guarded
def fetch(
    url: Annotated[
        str,
        typer.Option(
            envvar="OSTEO_DATA_URL",
            help="HTTP address of a mirror: the folder with `Training-Set-1` and the table.",
        ),
    ],
    data_dir: DataDir,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Simultaneous downloads.")] = 4,
    retries: Annotated[
        int, typer.Option(min=0, help="Retries for each broken file, after growing pauses.")
    ] = 6,
    hashes: Annotated[
        Path | None,
        typer.Option(help="A SHA256SUMS file that you trust more than the mirror's own."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The table's name, if the mirror has several.")
    ] = None,
) -> None:
    """Download the table and the tiles that it names.

    Every file is checked by the mirror's SHA256SUMS (or decoded, if there is none) before it is
    written. Run the command again after an interruption, or to check a folder: it fetches only what
    is missing or wrong.

    Example: `osteo-train dataset fetch --url https://mirror.example/osteo/ --data-dir ~/tcia`
    """
    from training.collection.checksums import read_sums
    from training.collection.download import Downloader, Patience
    from training.collection.fetch import Fetch, count_by_case
    from training.collection.mirror import Mirror
    from training.console.progress import tracked
    from training.errors import FetchError

    mirror = Mirror(url)
    downloader = Downloader(mirror, Patience(retries))
    try:
        fetched = Fetch(mirror, data_dir, downloader, jobs).run(
            tracked("Fetching"), read_sums(hashes) if hashes else {}, table
        )
    except KeyboardInterrupt:
        ERRORS.print("Interrupted. Run the same command again: it fetches what is missing.")
        raise typer.Exit(130) from None
    _print_counts(RAW_LABELS, count_by_case(fetched.right))
    n_rows = len(fetched.right) + len(fetched.wrong)
    n_here, n_published = fetched.n_were_here, fetched.n_published
    say(
        f"{len(fetched.right)} of {plural(n_rows, 'tile')} {_are(n_rows)} right. "
        f"{plural(n_here, 'file')} {'was' if n_here == 1 else 'were'} here already. "
        f"{plural(n_published, 'file')} {'has' if n_published == 1 else 'have'} a published "
        "SHA-256; the others were decoded."
    )
    if n := fetched.n_without_row:
        verbs = "has no row in the table and was" if n == 1 else "have no row in the table and were"
        say(f"{plural(n, 'tile')} of the mirror {verbs} not fetched.")
    if fetched.wrong:
        for line in fetched.wrong:
            ERRORS.print(f"not right: {plain(line)}", soft_wrap=True, highlight=False)
        raise FetchError(
            f"{plural(len(fetched.wrong), 'file')} {_are(len(fetched.wrong))} not right. Run the "
            "same command again: it fetches only these."
        )
    say(f"{data_dir / 'SHA256SUMS'}  Next: osteo-train index --data-dir {data_dir}")


@app.command()
@guarded
def report(  # noqa: PLR0913, PLR0917 - every option of the command is an argument
    data_dir: DataDir,
    table: TableOption = None,
    layout: LayoutOption = "auto",
    config_file: ConfigFile = RELEASED_CONFIG,
    out: Annotated[Path, typer.Option(help="Folder for pages, pictures and report.json.")] = Path(
        "runs/dataset"
    ),
    min_tissue: Annotated[
        float, typer.Option(min=0, max=1, help="Share of tissue below which a tile is near-blank.")
    ] = 0.1,
    max_bits: Annotated[
        int, typer.Option(min=0, max=96, help="Hash bits, of 256, in which look-alikes may differ.")
    ] = 24,
    sheet_tiles: Annotated[
        int, typer.Option(min=1, help="Largest number of tiles of a class and case on a sheet.")
    ] = 240,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Decoding threads.")] = 2,
) -> None:
    """Report what the folder contains: classes by case, odd tiles, duplicates, contact sheets.

    Unreadable tiles are listed here; `osteo-train index` rejects them.

    Example: `osteo-train dataset report --data-dir ~/tcia --min-tissue 0.05 --out runs/dataset`
    """
    from training.collection.inventory import OddityLimits, build_report
    from training.collection.survey import survey_tiles
    from training.collection.writing import write_report
    from training.console.progress import tracked
    from training.data.layouts import open_source

    labels = read_config(config_file).labels
    source = open_source(data_dir, labels, layout, table)
    for note in source.notes:
        say(note)
    tiles = survey_tiles(data_dir, source, labels, jobs, tracked("Reading tiles"))
    found = build_report(tiles, source, OddityLimits(min_tissue, max_bits))
    found = write_report(out, found, tiles, data_dir, sheet_tiles, labels)
    classes = RAW_LABELS if source.layout == "collection" else labels.names
    _print_counts(classes, {case: Counter(counts) for case, counts in found.tiles_by_case.items()})
    say(
        f"{len(found.near_blank)} near-blank (less than {min_tissue:.0%} tissue), "
        f"{len(found.unreadable)} unreadable, {plural(len(found.same_bytes), 'file')} more than "
        f"once, {plural(len(found.look_alikes), 'pair')} of look-alikes."
    )
    pairs = ", ".join(f"{n} at {side} px" for side, n in found.overlapping_pairs.items())
    say(f"Overlapping pairs on one slide, by side of a tile: {pairs}.")
    sheets = plural(len(found.sheets), "contact sheet")
    say(f"{out / 'report.html'}, report.md, report.json and {sheets}")


def _print_counts(classes: Sequence[str], counts: Mapping[str, Counter[str]]) -> None:
    """Print the tiles by case and class, with sums; classes that are not listed come last."""
    others = sorted({word for count in counts.values() for word in count} - set(classes))
    columns = (*classes, *others)
    total = sum(counts.values(), Counter())
    rows = [(case, counts[case]) for case in sorted(counts)]
    shown = [
        [name, *(str(count[column]) for column in columns), str(count.total())]
        for name, count in [*rows, ("all", total)]
    ]
    print_rows(("case", *columns, "all"), shown[:-1], shown[-1])


def _are(n: int) -> str:
    return "is" if n == 1 else "are"
