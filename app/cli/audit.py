"""`osteo audit`: verify the record of what the service answered, export it, search it, prune it."""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.progress import Progress, TaskID

from app.audit.chain import Head
from app.audit.opening import audit_url, make_store
from app.audit.store_errors import ChainTakenError, StoreError
from app.cli.audit_tables import print_chains, print_found, print_removals
from app.cli.endings import (
    EXIT_FAILED,
    EXIT_USAGE,
    STDERR,
    fail,
    plain_errors,
    say,
)
from app.cli.search import reason_of
from app.core.errors import counted
from app.settings import read_settings

if TYPE_CHECKING:
    from app.audit.store import AuditStore

Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Database of the audit, as in OSTEO_AUDIT_URL, which is the default; a password on "
        "the command line can be seen by other users.",
        show_default=False,
    ),
]

audit = typer.Typer(
    help="Verify, export, search and prune the record of what the service answered.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@audit.command()
def verify(
    url: Url = None,
    heads: Annotated[
        list[str] | None,
        typer.Option(
            "--head",
            metavar="CHAIN:SEQ:HASH",
            help="A head from the log (event audit_head); may be given several times.",
        ),
    ] = None,
) -> None:
    """Find records that were edited, removed, moved, doubled or cut off.

    Each record has a hash that covers the record before it. Somebody who changes the
    database can make a chain end earlier; that shows against the heads that other
    chains and the log have.

    The whole audit:              osteo audit verify
    Against the log, too:         osteo audit verify --head pod-0:812:5f1c...
    A copy on this machine:       osteo audit verify --url sqlite:///copy.sqlite3

    Exit code 0: every record is as it was written. 1: something was found, and is
    listed. 2: nothing could be verified. docs/audit.md explains what is found.
    """
    with _opened(url) as store:
        from app.audit.verify import count_rows, verify

        given = [_parsed_head(text) for text in heads or ()]
        with _progress("Verifying", count_rows(store)) as on_progress:
            found = verify(store, given, on_progress)
    print_chains(found)
    for note in found.notes:
        say(note)
    for finding in found.findings:
        say(f"Chain {finding.chain}, record {finding.seq}: {finding.kind}: {finding.sentence}.")
    for report in found.chains:
        if report.n_unnamed:
            say(f"Chain {report.chain}: {counted(report.n_unnamed, 'more finding')}.")
    if found.findings:
        fail("The audit is not as it was written.", EXIT_FAILED)
    n_records = sum(report.n_records for report in found.chains)
    typer.echo(f"{counted(n_records, 'record')} verified; nothing was changed or removed.")


@audit.command()
def export(
    url: Url = None,
    since: Annotated[
        str | None, typer.Option(help="From this date or time on (UTC), such as 2026-11-01.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(help="Before this date or time (UTC); 2026-12-01 is the end of November."),
    ] = None,
    output_format: Annotated[
        Literal["json", "csv"],
        typer.Option("--format", "-f", help="JSON lines, which can be verified, or CSV."),
    ] = "json",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output if none.")
    ] = None,
) -> None:
    """Write the records of a period, oldest first, as JSON lines or CSV.

    November:          osteo audit export --since 2026-11-01 --until 2026-12-01
    For a spreadsheet: osteo audit export --since 2026-11-01 -f csv -o audit.csv

    Times are UTC. A date is the beginning of its day. All records if neither
    --since nor --until is given.

    Exit code 0: everything was written. 1: it was not. 2: there was nothing to read.
    """
    with _opened(url) as store:
        from app.audit.export import write_csv, write_json_lines
        from app.audit.reading import walk_period

        rows = walk_period(store, _parsed_time(since), _parsed_time(until))
        write = write_csv if output_format == "csv" else write_json_lines
        try:
            if output is None:
                if isinstance(sys.stdout, io.TextIOWrapper):
                    sys.stdout.reconfigure(encoding="utf-8")
                n_rows = write(rows, sys.stdout)
            else:
                with output.open("w", encoding="utf-8", newline="") as stream:
                    n_rows = write(rows, stream)
        except OSError as error:
            fail(f"{output} cannot be written: {reason_of(error)}.", EXIT_FAILED)
    say(f"{counted(n_rows, 'record')} exported.")


@audit.command()
def find(
    url: Url = None,
    tile: Annotated[
        str | None, typer.Option(metavar="SHA256", help="SHA-256 of the tile's file.")
    ] = None,
    file: Annotated[
        Path | None, typer.Option(help="The tile's file itself; only its SHA-256 is used.")
    ] = None,
    request_id: Annotated[str | None, typer.Option(help="The X-Request-ID of the reply.")] = None,
    is_json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
) -> None:
    """Show which model said what about a tile, and who asked.

    By its SHA-256:  osteo audit find --tile 9f86d081884c7d65...
    By its file:     osteo audit find --file tile.jpg
    By the request:  osteo audit find --request-id 4bf92f3577b34da6

    Exit code 0: there is a record. 1: there is none. 2: nothing could be searched.
    """
    sha256 = _sha256_of(file) if file is not None else tile and tile.lower()
    if sha256 is None and request_id is None:
        fail("Nothing to look for: give --tile, --file or --request-id.", EXIT_USAGE)
    with _opened(url) as store:
        from app.audit.export import write_json_lines
        from app.audit.reading import walk_found

        rows = walk_found(store, sha256, request_id)
        n_rows = write_json_lines(rows, sys.stdout) if is_json else print_found(rows)
    if not n_rows:
        fail(f"No record of {sha256 or request_id}.", EXIT_FAILED)


@audit.command()
def prune(
    before: Annotated[str, typer.Option(help="Remove records before this date or time (UTC).")],
    url: Url = None,
    is_confirmed: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Remove old records; a seal takes their place, so that the rest can be verified.

    The audit is verified first, and nothing is removed if something is found.
    The prune itself is recorded. Export the records first if they must be kept
    elsewhere. A chain is removed from its beginning up to its first record of
    that time or later.

    All before 2026:   osteo audit prune --before 2026-01-01

    Exit code 0: done. 1: not done, or not completely. 2: nothing could be tried.
    """
    with _opened(url) as store:
        from app.audit.prune import plan_prune, prune
        from app.audit.verify import count_rows, verify

        limit = _parsed_time(before)
        with _progress("Verifying", count_rows(store)) as on_progress:
            findings = verify(store, (), on_progress).findings
        if findings:
            first = findings[0]
            fail(
                f"Nothing was removed: chain {first.chain}, record {first.seq} is {first.kind} "
                "(osteo audit verify shows all), and a prune would hide that.",
                EXIT_FAILED,
            )
        removals = plan_prune(store, limit or "")
        n_records = sum(removal.n_records for removal in removals)
        if not removals:
            typer.echo(f"No record is older than {limit}.")
            return
        print_removals(removals)
        question = f"Remove {counted(n_records, 'record')} before {limit} for good?"
        if not (is_confirmed or typer.confirm(question, err=True)):
            fail("Nothing was removed.", EXIT_FAILED)
        with _progress("Removing", n_records) as on_progress:
            place = prune(store, removals, limit or "", on_progress)
    typer.echo(f"{counted(n_records, 'record')} removed. This is record {place}")


@contextmanager
def _opened(url: str | None) -> Iterator[AuditStore]:
    """The audit of a URL or of the settings; its errors end the command with one sentence."""
    with plain_errors():
        store = make_store(url if url is not None else audit_url(read_settings()))
        try:
            store.open()
            yield store
        except StoreError as error:
            fail(f"The audit {store.name} cannot be read or written: {error}.", EXIT_FAILED)
        except ChainTakenError as error:
            fail(str(error), EXIT_FAILED)
        finally:
            store.close()


@contextmanager
def _progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    with Progress(
        console=STDERR, transient=True, redirect_stdout=False, disable=not STDERR.is_terminal
    ) as progress:
        task = progress.add_task(description, total=total)
        yield partial(_show_progress, progress, task)


def _show_progress(progress: Progress, task: TaskID, n_done: int) -> None:
    progress.update(task, completed=n_done)


def _parsed_head(text: str) -> Head:
    try:
        return Head.parse(text)
    except ValueError as error:
        fail(f"{error}.", EXIT_USAGE)


def _parsed_time(text: str | None) -> str | None:
    from app.audit.export import parse_time

    try:
        return None if text is None else parse_time(text)
    except ValueError as error:
        fail(f"{error}.", EXIT_USAGE)


def _sha256_of(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        fail(f"{file} cannot be read: {reason_of(error)}.", EXIT_USAGE)
