"""Write the report's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from training.collection.contact_sheets import write_sheets
from training.collection.inventory import DatasetReport
from training.collection.pages import to_html, to_markdown
from training.collection.survey import SurveyedTile
from training.console.progress import tracked
from training.data.label_set import LabelSet
from training.errors import DataError
from training.storage.disk import writing


def write_report(
    out: Path,
    report: DatasetReport,
    tiles: Sequence[SurveyedTile],
    data_dir: Path,
    most_a_case: int,
    labels: LabelSet,
) -> DatasetReport:
    """Write the contact sheets, then `report.json`, `report.md` and `report.html` beside them.

    Sheets of an earlier report in the folder are removed.

    Returns:
        The report with the names of the sheets.

    Raises:
        DataError: the folder is not writable.
    """
    marks, colour_of = report.marks(), dict(zip(labels.names, labels.colours, strict=True))
    sheets: list[str] = []
    with writing(out, DataError, "--out"):
        out.mkdir(parents=True, exist_ok=True)
        for old in out.glob("sheet-*.png"):
            old.unlink()
        for label in tracked("Drawing contact sheets")(report.labels):
            of_label = [tile for tile in tiles if tile.label == label]
            sheets += write_sheets(
                out, label, of_label, data_dir, marks, most_a_case, colour_of.get(label)
            )
        report = report.model_copy(update={"sheets": tuple(sheets)})
        (out / "report.json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
        (out / "report.md").write_text(to_markdown(report), encoding="utf-8")
        (out / "report.html").write_text(to_html(report), encoding="utf-8")
    return report
