"""The collection's files: fetched over HTTP, and looked at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from training.commands.options import OUT, DataDir, TableOption, guarded, plain, say
from training.console.progress import ERRORS
from training.data.labels import RAW_LABELS

app = typer.Typer(name="dataset", no_args_is_help=True)


@app.callback()
def dataset() -> None:
    """Fetch the collection, and see what it holds.

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
            help="A mirror: the folder that holds `Training-Set-1` and the table, over HTTP.",
        ),
    ],
    data_dir: DataDir,
    jobs: Annotated[int, typer.Option(min=1, max=16, help="Downloads at a time.")] = 4,
    retries: Annotated[int, typer.Option(min=0, help="Of one file, with longer pauses.")] = 6,
    hashes: Annotated[
        Path | None,
        typer.Option(help="A SHA256SUMS file you trust; overrules the mirror's own."),
    ] = None,
    table: Annotated[
        str | None, typer.Option(help="The table's name, where the mirror has several.")
    ] = None,
) -> None:
    """Download the table and the tiles that it names; go on after any interruption.

    Every file is held against the mirror's SHA256SUMS (or decoded, where there is none) before it
    gets its name. Run the command again to go on, or to check a folder: what is right stays.

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
        ERRORS.print("interrupted. Run the same command again: it goes on where it was.")
        raise typer.Exit(130) from None
    _print_counts(count_by_case(fetched.right))
    n_rows = len(fetched.right) + len(fetched.wrong)
    say(
        f"{len(fetched.right)} of {n_rows} tiles are right; {fetched.n_were_here} file(s) were "
        f"here already; {fetched.n_published} have a published SHA-256, others were decoded."
    )
    if fetched.n_without_row:
        say(f"{fetched.n_without_row} tile(s) of the mirror have no row in the table: not fetched.")
    if fetched.wrong:
        for line in fetched.wrong:
            ERRORS.print(f"not right: {plain(line)}", soft_wrap=True, highlight=False)
        raise FetchError(
            f"{len(fetched.wrong)} file(s) are not right. Run the same command again; what is "
            "right stays."
        )
    say(f"{data_dir / 'SHA256SUMS'}  Next: osteo-train index --data-dir {data_dir}")


@app.command()
@guarded
def report(
    data_dir: DataDir,
    table: TableOption = None,
    out: Annotated[Path, typer.Option(help="Receives pages, pictures and report.json.")] = Path(
        "runs/dataset"
    ),
    min_tissue: Annotated[
        float, typer.Option(min=0, max=1, help="Share of tissue below which a tile is near-blank.")
    ] = 0.1,
    max_bits: Annotated[
        int, typer.Option(min=0, max=96, help="Of 256 hash bits; more finds more look-alikes.")
    ] = 24,
    sheet_tiles: Annotated[
        int, typer.Option(min=1, help="The most tiles of a class and case that a sheet shows.")
    ] = 240,
    jobs: Annotated[int, typer.Option(min=1, max=64, help="Threads that decode.")] = 2,
) -> None:
    """Say what the folder holds: class by case, odd tiles, duplicates, and contact sheets.

    Nothing is refused here: what cannot be read is listed. `osteo-train index` decides.

    Example: `osteo-train dataset report --data-dir ~/tcia --min-tissue 0.05 --out runs/dataset`
    """
    from training.collection.report import Limits, build_report
    from training.collection.survey import survey_tiles
    from training.collection.writing import write_report
    from training.console.progress import tracked
    from training.data.annotations import find_table, read_table

    rows = read_table(table or find_table(data_dir))
    tiles = survey_tiles(data_dir, rows, jobs, tracked("Looking at tiles"))
    found = build_report(tiles, rows, Limits(min_tissue, max_bits))
    found = write_report(out, found, tiles, data_dir, sheet_tiles)
    _print_counts({case: Counter(counts) for case, counts in found.tiles_by_case.items()})
    say(
        f"{len(found.near_blank)} near-blank (less than {min_tissue:.0%} tissue), "
        f"{len(found.unreadable)} unreadable, {len(found.same_bytes)} file(s) more than once, "
        f"{len(found.look_alikes)} pair(s) that look the same."
    )
    pairs = ", ".join(f"{n} at {side} px" for side, n in found.overlapping_pairs.items())
    say(f"overlapping pairs of one slide: {pairs} a tile")
    say(f"{out / 'report.html'}, report.md, report.json and {len(found.sheets)} contact sheet(s)")


def _print_counts(counts: Mapping[str, Counter[str]]) -> None:
    """Tiles by case and by the table's classification, with sums."""
    others = sorted({word for count in counts.values() for word in count} - set(RAW_LABELS))
    columns = (*RAW_LABELS, *others)
    shown = Table("case", *(plain(column) for column in columns), "all")
    total: Counter[str] = Counter()
    for case in sorted(counts):
        total += counts[case]
        shown.add_row(case, *(str(counts[case][c]) for c in columns), str(counts[case].total()))
    shown.add_section()
    shown.add_row("all", *(str(total[column]) for column in columns), str(total.total()))
    OUT.print(shown)
