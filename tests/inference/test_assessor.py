from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from app.bundle import Bundle, open_bundle
from app.core.assessment_record import AssessmentRecord
from app.core.bundle_errors import ManifestError
from app.core.manifest import MANIFEST_NAME, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.review import UNCERTAINTY_REASONS, ReviewReason
from app.core.tile import TileHeader
from app.inference.assessor import NO_RECORD, Assessment, Assessor
from app.settings import Settings
from tests.bundles import build_bundle, manifest_of
from tests.records import GATE, SCORES, a_record, embedding_at
from training.data.drawn_tiles import draw_tile

Tile = NDArray[np.uint8]

TISSUE = draw_tile("viable_tumor", 224, 0)
HEADER = TileHeader("PNG", 1024, 1024)
SURE = (0.9, 0.06, 0.04)


def plain(*colour: int) -> Tile:
    return np.full((224, 224, 3), colour, np.uint8)


def blurred(tile: Tile) -> Tile:
    return np.asarray(Image.fromarray(tile).filter(ImageFilter.GaussianBlur(6)))


def above_glass(n_rows: int) -> Tile:
    """Rows of tissue above empty glass."""
    return np.vstack([TISSUE[:n_rows], plain(255, 255, 255)[n_rows:]])


def bundle_of(folder: Path, record: AssessmentRecord | None) -> Bundle:
    return open_bundle(build_bundle(folder, record=record))


def assess(
    bundle: Bundle,
    *,
    tile: Tile = TISSUE,
    header: TileHeader = HEADER,
    probabilities: tuple[float, ...] = SURE,
    distance: float = 0.1,
    **settings: Any,
) -> Assessment:
    assessor = Assessor(bundle, Settings(**settings))
    asked = np.array(probabilities, np.float32)
    return assessor.assess(tile, header, embedding_at(distance), asked)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return bundle_of(tmp_path, a_record())


@pytest.fixture
def old_bundle(tmp_path: Path) -> Bundle:
    """A bundle released without an assessment record."""
    return bundle_of(tmp_path, None)


def test_confident_answer_on_tissue_needs_no_review(bundle: Bundle) -> None:
    assessment = assess(bundle)
    assert (assessment.review.required, assessment.review.reasons) == (False, [])
    assert assessment.prediction_set.labels == ["non_tumor"]
    assert assessment.checks.distance == pytest.approx(0.1, abs=1e-3)
    assert assessment.checks.max_distance == GATE.max_distance


REASONS: dict[ReviewReason, dict[str, Any]] = {
    ReviewReason.LOW_PROBABILITY: {"probabilities": (0.59, 0.4, 0.01), "review_ambiguous": False},
    ReviewReason.AMBIGUOUS: {"probabilities": (0.62, 0.27, 0.11)},
    ReviewReason.BLANK: {"tile": above_glass(12)},
    ReviewReason.BLURRED: {"tile": blurred(TISSUE)},
    ReviewReason.NOT_TISSUE: {"tile": TISSUE[..., (1, 0, 2)]},
    ReviewReason.OUT_OF_DISTRIBUTION: {"distance": 0.7},
    ReviewReason.NOT_SQUARE: {"header": TileHeader("PNG", 1024, 700)},
    ReviewReason.TOO_SMALL: {"header": TileHeader("PNG", 200, 223)},
    ReviewReason.DAMAGED: {"header": TileHeader("JPEG", 1024, 1024, is_damaged=True)},
}


@pytest.mark.parametrize("reason", ReviewReason)
def test_every_reason_occurs_alone(bundle: Bundle, reason: ReviewReason) -> None:
    assessment = assess(bundle, **REASONS[reason])
    assert (assessment.review.required, assessment.review.reasons) == (True, [reason])
    assert (assessment.review.priority == 1) == (reason not in UNCERTAINTY_REASONS)


def test_priority_is_the_relative_entropy_of_the_probabilities(bundle: Bundle) -> None:
    assert assess(bundle).review.priority == 0.3572
    assert assess(bundle, probabilities=(0.5, 0.5, 0.0)).review.priority == 0.6309


def test_reasons_add_up(bundle: Bundle) -> None:
    assessment = assess(
        bundle,
        tile=plain(255, 255, 255),
        header=TileHeader("JPEG", 100, 300, is_damaged=True),
        probabilities=(0.4, 0.35, 0.25),
        distance=1.0,
    )
    assert set(assessment.review.reasons) == set(ReviewReason)
    assert len(assessment.review.reasons) == len(ReviewReason)


def test_tile_without_contrast_is_blank_despite_absorption(bundle: Bundle) -> None:
    assert ReviewReason.BLANK in assess(bundle, tile=plain(190, 120, 170)).review.reasons


@pytest.mark.parametrize(
    ("header", "reasons"),
    [
        (TileHeader("PNG", 1000, 800), []),
        (TileHeader("PNG", 800, 1001), [ReviewReason.NOT_SQUARE]),
        (TileHeader("PNG", 224, 224), []),
    ],
)
def test_shape_limits_are_inclusive(
    bundle: Bundle, header: TileHeader, reasons: list[ReviewReason]
) -> None:
    assert assess(bundle, header=header).review.reasons == reasons


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        (ReviewReason.LOW_PROBABILITY, {"review_min_probability": 0.95}),
        (ReviewReason.AMBIGUOUS, {"coverage": 0.97}),
        (ReviewReason.BLANK, {"review_min_tissue_share": 1.0}),
        (ReviewReason.BLURRED, {"review_min_sharpness": 500}),
        (ReviewReason.OUT_OF_DISTRIBUTION, {"review_max_distance": 0.05}),
        (
            ReviewReason.NOT_SQUARE,
            {"review_max_aspect": 1, "header": TileHeader("PNG", 1024, 1023)},
        ),
        (ReviewReason.TOO_SMALL, {"review_min_side_px": 1025}),
    ],
)
def test_settings_can_be_stricter_than_the_bundle(
    bundle: Bundle, reason: ReviewReason, settings: dict[str, Any]
) -> None:
    tile = above_glass(200)
    assert assess(bundle, tile=tile).review.reasons == []
    assert assess(bundle, tile=tile, **settings).review.reasons == [reason]


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        (ReviewReason.LOW_PROBABILITY, {"review_min_probability": 0}),
        (ReviewReason.AMBIGUOUS, {"review_ambiguous": False}),
        (ReviewReason.BLANK, {"review_min_tissue_share": 0}),
        (ReviewReason.BLURRED, {"review_min_sharpness": 0}),
        (ReviewReason.OUT_OF_DISTRIBUTION, {"review_max_distance": 2}),
        (ReviewReason.NOT_SQUARE, {"review_max_aspect": 2}),
        (ReviewReason.TOO_SMALL, {"review_min_side_px": 64}),
    ],
)
def test_settings_can_be_laxer_than_the_bundle(
    bundle: Bundle, reason: ReviewReason, settings: dict[str, Any]
) -> None:
    assert assess(bundle, **(REASONS[reason] | settings)).review.reasons == []


def test_stain_limit_of_the_settings_applies(bundle: Bundle) -> None:
    tile = np.vstack([TISSUE[:180], np.full((44, 224, 3), (150, 150, 150), np.uint8)])
    assert assess(bundle, tile=tile).review.reasons == []
    assessment = assess(bundle, tile=tile, review_min_stain_share=0.9)
    assert assessment.review.reasons == [ReviewReason.NOT_TISSUE]


def test_nan_embedding_is_out_of_distribution(bundle: Bundle) -> None:
    embedding = embedding_at(0.1)
    embedding[3] = np.nan
    asked = np.array(SURE, np.float32)
    assessment = Assessor(bundle, Settings()).assess(TISSUE, HEADER, embedding, asked)
    assert assessment.review.reasons == [ReviewReason.OUT_OF_DISTRIBUTION]
    assert assessment.checks.distance is None
    assert "nan" not in assessment.checks.model_dump_json().lower()


def test_prediction_set_grows_with_the_coverage(bundle: Bundle) -> None:
    sizes = []
    for coverage in (0.05, 0.5, 0.8, 0.9, 0.97):
        assessment = assess(bundle, probabilities=(0.45, 0.35, 0.2), coverage=coverage)
        found = assessment.prediction_set
        assert (found.status, found.coverage, found.reason) == ("available", coverage, None)
        assert found.labels is not None
        assert found.labels[0] == "non_tumor"
        sizes.append(len(found.labels))
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1, 3)


def test_set_is_unavailable_with_too_few_calibration_tiles(bundle: Bundle) -> None:
    found = assess(bundle, coverage=0.99).prediction_set
    assert (found.status, found.labels) == ("unavailable", None)
    assert found.reason == "coverage 0.99 needs 99 calibration tiles, but the bundle has 41"
    assert assess(bundle, coverage=0.976).prediction_set.status == "available"


def test_set_is_unavailable_without_calibration_tiles(tmp_path: Path) -> None:
    found = assess(bundle_of(tmp_path, a_record(scores=()))).prediction_set
    assert (found.status, found.labels) == ("unavailable", None)


def test_bundle_without_a_record_applies_only_limits_that_need_none(old_bundle: Bundle) -> None:
    assessment = assess(old_bundle, tile=plain(255, 255, 255))
    assert assessment.review.reasons == []
    assert (assessment.prediction_set.status, assessment.prediction_set.reason) == (
        "unavailable",
        NO_RECORD,
    )
    assert (assessment.checks.distance, assessment.checks.max_distance) == (None, None)
    doubtful = assess(old_bundle, probabilities=(0.4, 0.3, 0.3), header=TileHeader("PNG", 99, 999))
    assert doubtful.review.reasons == ["low_probability", "not_square", "too_small"]


@pytest.mark.parametrize(
    ("reason", "tile", "settings"),
    [
        (ReviewReason.BLANK, plain(255, 255, 255), {"review_min_tissue_share": 0.1}),
        (ReviewReason.BLURRED, blurred(TISSUE), {"review_min_sharpness": 5}),
        (ReviewReason.NOT_TISSUE, plain(90, 160, 90), {"review_min_stain_share": 0.5}),
    ],
)
def test_limits_of_the_settings_need_no_record(
    old_bundle: Bundle, reason: ReviewReason, tile: Tile, settings: dict[str, Any]
) -> None:
    assert assess(old_bundle, tile=tile).review.reasons == []
    assert assess(old_bundle, tile=tile, **settings).review.reasons == [reason]


@pytest.mark.parametrize("setting", ["coverage", "review_min_probability", "review_max_distance"])
@pytest.mark.parametrize("value", [math.nan, -0.1])
def test_invalid_limit_is_rejected(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        Settings(**{setting: value})  # type: ignore[arg-type] # any


def test_reference_without_a_checksum_is_rejected(bundle: Bundle) -> None:
    files = {k: v for k, v in bundle.manifest.files.items() if k != REFERENCE_NAME}
    unlisted = bundle.manifest.model_copy(update={"files": files})
    with pytest.raises(ManifestError, match="not listed"):
        Assessor(dataclasses.replace(bundle, manifest=unlisted), Settings())


def test_reference_of_another_network_is_rejected(tmp_path: Path) -> None:
    root = build_bundle(tmp_path, record=a_record(scores=SCORES))
    ReferenceTiles(np.eye(5, 512)).write(root / REFERENCE_NAME)
    write_manifest(root / MANIFEST_NAME, manifest_of(root, record=a_record()))
    with pytest.raises(ManifestError, match="size 512, the model's 1280"):
        Assessor(open_bundle(root), Settings())
