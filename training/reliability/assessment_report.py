"""The assessment report of a bundle, `assessment.json`, from which the model card is written."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import ConfigDict, Field, ValidationError

from training.errors import RunError
from training.evaluation.calibration import CalibrationQuality
from training.reliability.cam_deletion import Deletion
from training.reliability.conformal import Coverage
from training.reliability.flag_rates import FlagRate
from training.reliability.own_tiles import OwnTiles
from training.reliability.robustness import Robustness
from training.reliability.selective import RiskPoint
from training.storage.frozen_model import FrozenModel

REPORT_NAME: Final = "assessment.json"


class Selection(FrozenModel):
    """Risk and coverage on one split."""

    split: str
    n_tiles: int
    n_wrong: int
    points: tuple[RiskPoint, ...]


class AssessmentReport(FrozenModel):
    """All measurements of an assessment.

    Attributes:
        source: the predictions that the temperature was fitted on.
        before: calibration before temperature scaling.
        after: calibration after temperature scaling.
        real: flag rate of real tiles, out of fold.
        ood_samples: flag rates of `training.reliability.ood_samples`, by kind.
        stains: flag rates of real tiles in the colours of other stains.
        distance_methods: by method and kind, the share of OOD samples that the distance separates.
        own: the released model on its training tiles; None in reports of versions 1 to 3.
        int8_verdicts_changed: tiles that the gate flags differently with int8; None without int8.
    """

    model_config = ConfigDict(validate_by_name=True)

    schema_version: Literal[1] = 1
    source: str
    n_tiles: int
    before: CalibrationQuality
    after: CalibrationQuality
    coverage: tuple[Coverage, ...]
    real: FlagRate
    ood_samples: tuple[FlagRate, ...] = Field(alias="outsiders")
    stains: tuple[FlagRate, ...]
    distance_methods: dict[str, dict[str, float]]
    int8_verdicts_changed: int | None
    selection: tuple[Selection, ...]
    deletion: Deletion
    robustness: tuple[Robustness, ...]
    own: OwnTiles | None = None


def write_report(bundle_dir: Path, report: AssessmentReport) -> None:
    """Write `assessment.json`."""
    content = report.model_dump_json(indent=1, by_alias=True) + "\n"
    (bundle_dir / REPORT_NAME).write_text(content, encoding="utf-8")


def read_report(bundle_dir: Path) -> AssessmentReport:
    """Read `assessment.json`.

    Raises:
        RunError: the file is missing or has another schema version.
    """
    path = bundle_dir / REPORT_NAME
    try:
        return AssessmentReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is missing or has another schema version.") from error
