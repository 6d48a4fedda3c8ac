"""The commands of `python -m deploy.release`."""

from __future__ import annotations

import datetime
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from app import __version__
from deploy.release.audit import OSV_URL, audit, read_accepted
from deploy.release.documents import write_boms, write_image_documents, write_licences
from deploy.release.errors import NotAuditedError, ReleaseError
from deploy.release.images import TARGETS, Image, find_engine
from deploy.release.locks import NAMES, lock_path, read_lock, read_locks
from deploy.release.programs import run
from deploy.release.provenance import NOT_NAMED
from deploy.release.release import Options, Release

NOT_AUDITED = 3
"""Exit code of an audit that could not be done; 1 means that there are vulnerabilities."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    help="""Build and describe what is shipped. Run it from a checkout.

    What is in it: `python -m deploy.release sbom`, `python -m deploy.release licences`

    Is anything of it known to be vulnerable: `python -m deploy.release audit`

    All of it, from a tag to signed files: `python -m deploy.release release v1.2.0`

    docs/supply-chain.md explains the files and how a site verifies them.
    """,
)


class Target(StrEnum):
    """Targets of the Dockerfile."""

    CPU = "cpu"
    GPU = "gpu"


Out = Annotated[Path, typer.Option(help="Folder that the files are written to.")]
OsvUrl = Annotated[str, typer.Option(help="The query address of OSV, or of a mirror of it.")]
ImageName = Annotated[
    str | None, typer.Option(help="Describe this image of podman or docker instead.")
]
ImageTarget = Annotated[Target, typer.Option(help="The target that --image was built from.")]


@contextmanager
def _reported() -> Iterator[None]:
    """Show an error as one message, without a traceback, and end with its exit code."""
    try:
        yield
    except ReleaseError as error:
        typer.echo(f"error: {error}", err=True)
        code = NOT_AUDITED if isinstance(error, NotAuditedError) else 1
        raise typer.Exit(code) from error


def _epoch() -> int:
    """SOURCE_DATE_EPOCH, or else the time of the commit, so that two runs write the same."""
    given = os.environ.get("SOURCE_DATE_EPOCH")
    return int(given or run("git", "log", "-1", "--format=%ct", cwd=Path.cwd()))


@app.command()
def sbom(
    out: Out = Path("dist"), image: ImageName = None, target: ImageTarget = Target.CPU
) -> None:
    """Write a CycloneDX bill of materials of each lock file, or of an image with its licences."""
    with _reported():
        if image:
            engine = find_engine()
            if not engine:
                raise ReleaseError("neither podman nor docker is installed")
            pins = read_lock(lock_path(Path.cwd(), TARGETS[target]))
            found = Image(engine, image)
            paths = write_image_documents(found, target, pins, __version__, _epoch(), out)
        else:
            paths = write_boms(Path.cwd(), NAMES, __version__, _epoch(), out)
        for path in paths:
            typer.echo(path)


@app.command()
def licences(out: Out = Path("dist")) -> None:
    """Write the licences of what the images contain; fail if one must not be shipped."""
    with _reported():
        for path in write_licences(Path.cwd(), __version__, out):
            typer.echo(path)


@app.command("audit")
def audit_locks(osv_url: OsvUrl = OSV_URL) -> None:
    """Look every locked package up in a database of vulnerabilities.

    Exit codes: 0 if none is known, 1 if one is, 3 if nothing was audited.
    """
    with _reported():
        pins = read_locks(Path.cwd())
        today = datetime.datetime.now(datetime.UTC).date()
        accepted = audit(pins, read_accepted(), today=today, osv_url=osv_url)
        for vulnerability in accepted:
            typer.echo(f"accepted: {vulnerability}")
        n_packages = len({(pin.name, pin.version) for pin in pins})
        typer.echo(f"audited: {n_packages} packages, no known vulnerability that is not accepted")


@app.command("release")
def make_release(  # noqa: PLR0913, PLR0917 # each is an option of the command
    tag: Annotated[str, typer.Argument(help="An existing tag that is checked out: v1.2.0.")],
    out: Annotated[Path | None, typer.Option(help="An empty folder. Default: dist/TAG.")] = None,
    builder: Annotated[
        str, typer.Option(help="URI that says who built it, for the provenance.")
    ] = NOT_NAMED,
    source_url: Annotated[
        str | None,
        typer.Option(help="Public address of the repository, for labels and provenance."),
    ] = None,
    skip_tests: Annotated[
        bool, typer.Option("--skip-tests", help="The provenance says so.")
    ] = False,
    allow_unaudited: Annotated[
        bool, typer.Option("--allow-unaudited", help="Go on if the audit is impossible.")
    ] = False,
    no_image: Annotated[bool, typer.Option("--no-image", help="Build no image.")] = False,
    target: Annotated[
        list[Target] | None, typer.Option(help="Image to build. Default: cpu.")
    ] = None,
    build_arg: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE for the Dockerfile, such as CPU_BASE=...")
    ] = None,
    build_option: Annotated[
        list[str] | None, typer.Option(help="Option of podman or docker build.")
    ] = None,
    signing_key: Annotated[
        Path | None, typer.Option(help="Ed25519 private key in PEM; signs SHA256SUMS.")
    ] = None,
    osv_url: OsvUrl = OSV_URL,
) -> None:
    """Check a tag, build everything from it, and describe it.

    Prints the checklist. SHA256SUMS appears only if no step failed.
    """
    options = Options(
        builder=builder,
        source_url=source_url,
        skip_tests=skip_tests,
        allow_unaudited=allow_unaudited,
        no_image=no_image,
        targets=tuple(target or (Target.CPU,)),
        build_args=dict(_argument(given) for given in build_arg or ()),
        build_options=tuple(build_option or ()),
        signing_key=signing_key,
        osv_url=osv_url,
    )
    folder = (out or Path("dist") / tag).absolute()
    try:
        Release(Path.cwd(), tag, folder, options).run(typer.echo)
    except ReleaseError as error:
        typer.echo(f"\n{tag} is not released.", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"\n{tag} is in {folder}. Read the skipped steps above before you publish it.")


def _argument(given: str) -> tuple[str, str]:
    if not re.fullmatch(r"[A-Z_]+=.*", given):
        raise typer.BadParameter(f"{given!r} is not NAME=VALUE", param_hint="--build-arg")
    name, _, value = given.partition("=")
    return name, value
