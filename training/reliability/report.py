"""What was measured of a bundle's own doubts: `assessment.json`, which the card is made from."""

from __future__ import annotations

from pathlib import Path
from typing import Final, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from training.errors import RunError
from training.reliability.cam_deletion import Deletion
from training.reliability.conformal import Coverage
from training.reliability.flag_rates import Flagged
from training.reliability.robustness import Robustness
from training.reliability.selective import RiskPoint

REPORT_NAME: Final = "assessment.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CalibrationQuality(_Part):
    """Of probabilities at one temperature, on answers to tiles that were not trained on."""

    temperature: float
    ece: float
    brier: float
    log_loss: float


class Selection(_Part):
    """Risk and coverage on one split."""

    split: str
    n_tiles: int
    n_wrong: int
    points: tuple[RiskPoint, ...]


class AssessmentReport(_Part):
    """All of it. Kinds of pictures are those of `training.reliability.ood_samples`."""

    schema_version: Literal[1] = 1
    source: str
    n_tiles: int
    before: CalibrationQuality
    after: CalibrationQuality
    coverage: tuple[Coverage, ...]
    real: Flagged
    outsiders: tuple[Flagged, ...]
    stains: tuple[Flagged, ...]
    distance_methods: dict[str, dict[str, float]]
    int8_verdicts_changed: int | None
    selection: tuple[Selection, ...]
    deletion: Deletion
    robustness: tuple[Robustness, ...]


def write_report(bundle_dir: Path, report: AssessmentReport) -> None:
    """Write `assessment.json`."""
    content = report.model_dump_json(indent=1) + "\n"
    (bundle_dir / REPORT_NAME).write_text(content, encoding="utf-8")


def read_report(bundle_dir: Path) -> AssessmentReport:
    """Read `assessment.json`.

    Raises:
        RunError: the bundle has none of this version.
    """
    path = bundle_dir / REPORT_NAME
    try:
        return AssessmentReport.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is missing or of another version.") from error
