"""Write the report of a study: Markdown with pictures beside it, and one HTML file."""

from __future__ import annotations

import base64
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

from training.console.plural import plural
from training.experiments.study.figures import draw_figure_3, draw_figure_4, draw_figure_5
from training.experiments.study.journal import FinishedRun
from training.experiments.study.results import (
    RESULTS_NAME,
    best_run,
    figure_3_cells,
    table_1_cells,
    write_results,
)
from training.experiments.study.sections import (
    data_section,
    figure_3_section,
    figure_4_section,
    figure_5_section,
    method_section,
    not_run,
    table_1_section,
)
from training.experiments.study.split_sections import beyond_section, comparison_section
from training.experiments.study.study import Study, found
from training.networks.registry import SYSTEMS
from training.storage.atomic import write_bytes_whole

MARKDOWN_NAME: Final = "report.md"
HTML_NAME: Final = "report.html"
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em;"
    "color:#222}table{border-collapse:collapse;margin:1em 0;font-size:14px}"
    "td,th{border:1px solid #ccc;padding:.25em .6em;text-align:right}"
    "td:first-child,th:first-child{text-align:left}img{max-width:100%}"
)


def write_report(study: Study, find: Callable[[str], FinishedRun | None]) -> Path:
    """Write results, figures and report of the runs finished so far, each file whole or not at all.

    Returns:
        The Markdown file.
    """
    out = study.folders.out
    out.mkdir(parents=True, exist_ok=True)
    grid, table = found(study.figure_3, find), found(study.table_1, find)
    compared, beyond = found(study.comparison, find), found(study.by_split_kind(find), find)
    done = [*grid, *table, *compared, *beyond]
    write_results(out / RESULTS_NAME, done, study.config.labels)
    pictures: dict[str, bytes] = {}
    sections = [data_section(study, done)]
    where = f"{plural(len(study.index.tiles), 'tile')}, random split"
    if grid:
        cells = figure_3_cells(grid)
        pictures["figure-3.png"] = draw_figure_3(
            cells,
            f"Figure 3: {where}, mean of the runs and their range",
            tuple(not_run(study, study.config.grid.systems)),
        )
        sections.append(figure_3_section(study, cells))
    if table:
        sections.append(table_1_section(study, table_1_cells(table)))
    best = best_run(table or grid)
    if best is not None:
        run, record = best
        title = f"{SYSTEMS[run.system].title}, {run.row}, run {run.number}; {where}"
        pictures["figure-4.png"] = draw_figure_4(record, f"Figure 4: {title}")
        lines = [
            f"Figure 5: {SYSTEMS[run.system].title}, {run.row}, run {run.number}",
            where,
            f"{plural(record.n_test, 'test tile')}, after epoch {record.best_epoch}",
        ]
        pictures["figure-5.png"] = draw_figure_5(
            record.best_confusion, study.config.labels, "\n".join(lines)
        )
        sections += [figure_4_section(run, record), figure_5_section(record, study.config.labels)]
    sections += [
        comparison_section(study, compared),
        beyond_section(study, beyond),
        method_section(study),
    ]
    for name, content in pictures.items():
        write_bytes_whole(out / name, content)
    markdown = "\n\n".join(section for section in sections if section) + "\n"
    write_bytes_whole(out / MARKDOWN_NAME, markdown.encode())
    page = render_html(markdown, pictures, study.config.name)
    write_bytes_whole(out / HTML_NAME, page.encode())
    return out / MARKDOWN_NAME


def render_html(markdown: str, pictures: dict[str, bytes], title: str) -> str:
    """Render a report as one HTML file with its pictures.

    Args:
        markdown: CommonMark with tables; names the pictures' files.
        pictures: PNGs by name.
        title: title of the page.
    """
    from markdown_it import MarkdownIt

    body = MarkdownIt("commonmark").enable("table").render(markdown)

    def embed(match: re.Match[str]) -> str:
        return f'src="data:image/png;base64,{base64.b64encode(pictures[match[1]]).decode()}"'

    names = "|".join(re.escape(name) for name in pictures)
    embedded = re.sub(f'src="({names})"', embed, body) if names else body
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Study: '
        f"{html.escape(title)}</title><style>{_STYLE}</style></head><body>{embedded}</body></html>\n"
    )
