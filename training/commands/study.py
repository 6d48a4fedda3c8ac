"""Run the whole study of the seed paper."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from training.commands.options import DataDir, IndexFile, guarded
from training.commands.output import say
from training.config import CONFIGS_DIR
from training.console.plural import plural
from training.console.progress import ERRORS, counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.experiments.study.config import StudyConfig
    from training.experiments.study.design import PlannedRun
    from training.experiments.study.engines import Engine
    from training.experiments.study.journal import FinishedRun
    from training.experiments.study.planning import Needs
    from training.experiments.study.study import Study
    from training.storage.journal import Journal

app = typer.Typer()

_PAPER = CONFIGS_DIR / "study.toml"


@app.command()
@guarded
def study(  # noqa: PLR0913, PLR0917 - every option of the command is an argument
    data_dir: DataDir,
    config_file: Annotated[
        Path,
        typer.Option("--config", help="A study's TOML file.", show_default=_PAPER.name),
    ] = _PAPER,
    index_file: IndexFile = Path("runs/index.json"),
    out: Annotated[
        Path, typer.Option(help="Folder for journal, results, figures and report.")
    ] = Path("runs/study"),
    cache_dir: Annotated[
        Path, typer.Option(help="Cache of backbone features; may be removed at any time.")
    ] = Path("runs/cache"),
    system: Annotated[
        list[str] | None,
        typer.Option(
            help="Run only this system; may be repeated. The rows of the others stay in the "
            "report, not run. [default: all]"
        ),
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="SYSTEM=FILE or SYSTEM=imagenet; may be repeated. MobileNetV2 takes OSTEO_WEIGHTS."
        ),
    ] = None,
    not_run: Annotated[
        list[str] | None,
        typer.Option(
            "--not-run",
            help="SYSTEM=REASON: leave this system out, and give the reason in its rows of the "
            "report; may be repeated.",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Only print the number of runs, the time and the disk space."),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Only write the report of the runs finished so far.")
    ] = False,
    engine: Annotated[
        Literal["serial", "ray"], typer.Option(help="What fits the heads: this process, or Ray.")
    ] = "serial",
    ray_address: Annotated[
        str | None,
        typer.Option(help="A Ray cluster, such as `auto` or `HOST:6379`. [default: this machine]"),
    ] = None,
) -> None:
    """Run the seed paper's study: Figures 3 to 5 and Table 1, results, figures and report.

    Stopped or killed, the same command resumes where it stopped.

    Examples: `osteo-train study --plan`, then
    `osteo-train study --system mobilenetv2 --weights mobilenetv2=mobilenet.h5 --out runs/study`
    """
    from training.data.index import read_index
    from training.data.labels import require_every_label
    from training.experiments.study.config import read_study
    from training.experiments.study.journal import open_journal, read_journal
    from training.experiments.study.planning import assess, require_ready
    from training.experiments.study.study import Study, StudyFolders
    from training.experiments.study.study_report import write_report

    config = _chosen(read_study(config_file), system, weights, not_run)
    index, index_sha256 = read_index(index_file)
    require_every_label(index.labels, index.label_set)
    planned = Study(config, index, index_sha256, StudyFolders(data_dir, cache_dir, out))
    if plan or report:
        records = read_journal(out)
        if plan:
            _print_needs(planned, assess(planned, records.get))
        else:
            say(str(write_report(planned, records.get)))
        return
    workers = _engine(engine, ray_address, planned)
    with open_journal(out) as journal:
        needs = assess(planned, journal.get)
        require_ready(planned, needs)
        _print_needs(planned, needs)
        try:
            _run(planned, planned.known_runs, journal, workers)
            _run(planned, planned.by_split_kind(journal.get), journal, workers)
        except KeyboardInterrupt as error:
            # From the file: the interrupt may have come between writing the line and recording it.
            done = assess(planned, read_journal(out).get)
            ERRORS.print(
                f"Stopped: {done.n_done} of {plural(done.n_runs, 'run')} are finished. Run the "
                "same command again to resume; --report reports what is finished.",
                soft_wrap=True,
            )
            raise typer.Exit(130) from error
        say(str(write_report(planned, journal.get)))


def _run(
    study: Study, runs: Sequence[PlannedRun], journal: Journal[FinishedRun], engine: Engine
) -> None:
    from training.experiments.study.planning import cost_of

    unfinished = {run.spec.key: run.spec for run in runs if journal.get(run.spec.key) is None}
    n_before = len({run.spec.key for run in runs}) - len(unfinished)
    if not unfinished:
        return
    total = sum(cost_of(study, spec) for spec in unfinished.values())
    n_done = n_before
    with counted("Study", total) as advance:
        for specs in study.run(runs, journal, engine):
            n_done += len(specs)
            cost = sum(cost_of(study, spec) for spec in specs)
            advance(cost, f"{n_done} of {n_before + len(unfinished)} runs")


def _chosen(
    config: StudyConfig,
    systems: list[str] | None,
    weights: list[str] | None,
    not_run: list[str] | None,
) -> StudyConfig:
    named = {}
    general = os.environ.get("OSTEO_WEIGHTS")
    if general and "mobilenetv2" in config.systems:
        named["mobilenetv2"] = general
    named |= _by_system(config, weights, "--weights", "FILE")
    reasons = _by_system(config, not_run, "--not-run", "REASON")
    chosen = config.with_weights(named)
    # First the reasons: a system with a reason is not "left out with --system".
    chosen = chosen.without(reasons) if reasons else chosen
    return chosen.only(tuple(systems)) if systems else chosen


def _by_system(
    config: StudyConfig, entries: list[str] | None, option: str, value: str
) -> dict[str, str]:
    """The values of a repeated option SYSTEM=VALUE."""
    found = {}
    for entry in entries or []:
        name, _, given = entry.partition("=")
        if not given or name not in config.systems:
            raise typer.BadParameter(
                f"{entry!r} is not SYSTEM={value} with SYSTEM one of {', '.join(config.systems)}",
                param_hint=option,
            )
        found[name] = given
    return found


def _engine(name: str, address: str | None, study: Study) -> Engine:
    from training.experiments.study.engines import SerialEngine

    if name == "serial":
        if address is not None:
            raise typer.BadParameter("it needs --engine ray", param_hint="--ray-address")
        return SerialEngine()
    from training.experiments.study.cluster import RayEngine, require_cached_views

    require_cached_views(study)
    return RayEngine(address)


def _print_needs(study: Study, needs: Needs) -> None:
    later = f"; {needs.n_later} more beyond the paper follow" if needs.n_later else ""
    grid, table = len(study.figure_3), len(study.table_1)
    compared = f", the comparison has {len(study.comparison)}" if study.comparison else ""
    say(
        f"{plural(needs.n_runs, 'run')}, {needs.n_done} finished{later}. Figure 3 has {grid}, "
        f"Table 1 has {table}{compared}; a run that they share is done once."
    )
    for name, entry in study.config.systems.items():
        if entry.not_run is not None:
            say(f"Not run, {name}: {entry.not_run}")
    for name, n_features in needs.n_features.items():
        say(f"Features to compute, {name}: {n_features}")
    say(
        f"About {_minutes(needs.feature_s)} for features and {_minutes(needs.fit_s)} for "
        f"{plural(needs.n_fits, 'fit')}; {needs.cache_bytes / 2**20:.1f} MiB in "
        f"{study.folders.cache_dir}, {needs.out_bytes / 2**20:.1f} MiB in {study.folders.out}."
    )


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.0f} min"
