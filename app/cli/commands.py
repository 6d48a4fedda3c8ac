"""The command `osteo`: serve; work on files without a server; API keys; audit; check the setup."""

from __future__ import annotations

import sys
from functools import partial
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape

from app import __version__
from app.cli.audit import audit
from app.cli.classify import classify
from app.cli.doctor import examine
from app.cli.endings import EXIT_FAILED, STDERR, Program, plain_errors
from app.cli.explain import explain
from app.cli.keys import keys
from app.cli.report.command import report
from app.cli.slide import slide
from app.cli.worker import worker
from app.inference.results import RESEARCH_USE
from app.settings import read_settings

app = Program(
    help=f"Classify osteosarcoma histology tiles.\n\n{RESEARCH_USE}",
    epilog="Settings are environment variables OSTEO_*. docs/settings.md lists them.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_stdout = Console(highlight=False, emoji=False)
_FIRST_KEY: Final = """\
The first API key of this service. It is shown only now; keep it in a safe place:

    {key}

Send it as  Authorization: Bearer KEY.  `osteo keys create` makes more, `osteo keys revoke first`
ends this one.
"""


def _print_version(wanted: bool) -> None:
    if wanted:
        _stdout.print(f"osteo {__version__}")
        raise typer.Exit


@app.callback()
def main(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Options of all commands."""


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on [OSTEO_HOST].")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on [OSTEO_PORT].")] = None,
) -> None:
    """Run the HTTP service until SIGTERM or Ctrl-C.

    Classify a tile:  curl -F file=@tile.jpg http://127.0.0.1:8000/v1/classify

    Read the API pages:  http://127.0.0.1:8000/docs

    Exit code 0: it stopped as asked. 1: it could not start (the port is taken, the address is not
    one of this machine, or a TLS file cannot be used), or work did not end within the drain time.
    2: a setting is wrong.
    """
    from app.access.opening import open_first_key
    from app.audit.command_records import record_key_change
    from app.server.listener import url_of
    from app.server.run import scheme_of
    from app.server.run import serve as run_server

    given = {"host": host, "port": port}
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with plain_errors():
        settings = read_settings(**overrides)
        first_key = open_first_key(settings, partial(record_key_change, settings))
    if first_key is not None:
        _stdout.print(_FIRST_KEY.format(key=first_key), soft_wrap=True, markup=False)
    if sys.stderr.isatty():
        pages = f"{url_of(settings.host, settings.port, scheme_of(settings))}/docs"
        where = pages if settings.port else "on a free port, which the log names"
        line = f"osteo {__version__}: {where} - {RESEARCH_USE}"
        STDERR.print(line, soft_wrap=True, markup=False)  # IPv6 looks like markup
    with plain_errors():
        raise typer.Exit(run_server(settings))


app.command()(classify)
app.command()(explain)
app.command()(report)
app.command()(slide)
app.command()(worker)
app.add_typer(keys, name="keys")
app.add_typer(audit, name="audit")


@app.command()
def doctor() -> None:
    """Check packages and bundle, and whether the model answers as it did at release."""
    n_failed = 0
    with plain_errors():
        for finding in examine(read_settings()):
            n_failed += finding.is_ok is False
            mark = {True: "[green]ok  [/]", False: "[red]FAIL[/]", None: "    "}[finding.is_ok]
            _stdout.print(
                f"{mark} {escape(f'{finding.what:<26} {finding.detail}')}", soft_wrap=True
            )
    if n_failed:
        raise typer.Exit(EXIT_FAILED)
