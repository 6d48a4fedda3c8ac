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
from app.core.errors import ManifestError
from app.core.manifest import MANIFEST_NAME, write_manifest
from app.core.reference_tiles import REFERENCE_NAME, ReferenceTiles
from app.core.review import ReviewReason
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
    """Some rows of tissue, and the rest of the slide empty."""
    return np.vstack([TISSUE[:n_rows], plain(255, 255, 255)[n_rows:]])


def bundle_of(folder: Path, record: AssessmentRecord | None) -> Bundle:
    return open_bundle(build_bundle(folder, record=record))


def judge(
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
    """Released before there were records."""
    return bundle_of(tmp_path, None)


def test_sure_answer_on_tissue_needs_no_review(bundle: Bundle) -> None:
    said = judge(bundle)
    assert (said.review.required, said.review.reasons) == (False, [])
    assert said.prediction_set.labels == ["non_tumor"]
    assert said.checks.distance == pytest.approx(0.1, abs=1e-3)
    assert said.checks.max_distance == GATE.max_distance


REASONS: dict[ReviewReason, dict[str, Any]] = {
    ReviewReason.LOW_PROBABILITY: {"probabilities": (0.59, 0.4, 0.01), "review_ambiguous": False},
    ReviewReason.AMBIGUOUS: {"probabilities": (0.62, 0.27, 0.11)},
    ReviewReason.BLANK: {"tile": above_glass(12)},
    ReviewReason.BLURRED: {"tile": blurred(TISSUE)},
    ReviewReason.NOT_TISSUE: {"tile": TISSUE[..., (1, 0, 2)]},
    ReviewReason.OUT_OF_DISTRIBUTION: {"distance": 0.7},
    ReviewReason.NOT_SQUARE: {"header": TileHeader("PNG", 1024, 700)},
    ReviewReason.TOO_SMALL: {"header": TileHeader("PNG", 200, 223)},
}


@pytest.mark.parametrize("reason", ReviewReason)
def test_every_reason_is_reached_alone(bundle: Bundle, reason: ReviewReason) -> None:
    said = judge(bundle, **REASONS[reason])
    assert (said.review.required, said.review.reasons) == (True, [reason])


def test_reasons_add_up(bundle: Bundle) -> None:
    said = judge(
        bundle,
        tile=plain(255, 255, 255),
        header=TileHeader("PNG", 100, 300),
        probabilities=(0.4, 0.35, 0.25),
        distance=1.0,
    )
    assert set(said.review.reasons) == set(ReviewReason)
    assert len(said.review.reasons) == len(ReviewReason)


def test_tile_without_contrast_is_blank_whatever_it_absorbs(bundle: Bundle) -> None:
    assert ReviewReason.BLANK in judge(bundle, tile=plain(190, 120, 170)).review.reasons


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
    assert judge(bundle, header=header).review.reasons == reasons


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
def test_settings_are_stricter_than_the_bundle(
    bundle: Bundle, reason: ReviewReason, settings: dict[str, Any]
) -> None:
    tile = above_glass(200)
    assert judge(bundle, tile=tile).review.reasons == []
    assert judge(bundle, tile=tile, **settings).review.reasons == [reason]


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
def test_settings_are_milder_than_the_bundle(
    bundle: Bundle, reason: ReviewReason, settings: dict[str, Any]
) -> None:
    assert judge(bundle, **(REASONS[reason] | settings)).review.reasons == []


def test_stain_limit_of_the_settings_counts(bundle: Bundle) -> None:
    tile = np.vstack([TISSUE[:180], np.full((44, 224, 3), (150, 150, 150), np.uint8)])
    assert judge(bundle, tile=tile).review.reasons == []
    said = judge(bundle, tile=tile, review_min_stain_share=0.9)
    assert said.review.reasons == [ReviewReason.NOT_TISSUE]


def test_embedding_that_is_no_number_is_out_of_distribution(bundle: Bundle) -> None:
    embedding = embedding_at(0.1)
    embedding[3] = np.nan
    asked = np.array(SURE, np.float32)
    said = Assessor(bundle, Settings()).assess(TISSUE, HEADER, embedding, asked)
    assert said.review.reasons == [ReviewReason.OUT_OF_DISTRIBUTION]
    assert said.checks.distance is None
    assert "nan" not in said.checks.model_dump_json().lower()


def test_set_holds_what_the_coverage_asks(bundle: Bundle) -> None:
    sizes = []
    for coverage in (0.05, 0.5, 0.8, 0.9, 0.97):
        labels = judge(bundle, probabilities=(0.45, 0.35, 0.2), coverage=coverage)
        said = labels.prediction_set
        assert (said.status, said.coverage, said.reason) == ("available", coverage, None)
        assert said.labels is not None
        assert said.labels[0] == "non_tumor"
        sizes.append(len(said.labels))
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1, 3)


def test_too_few_calibration_tiles_are_said_and_not_guessed_over(bundle: Bundle) -> None:
    said = judge(bundle, coverage=0.99).prediction_set
    assert (said.status, said.labels) == ("unavailable", None)
    assert said.reason == "coverage 0.99 needs 99 calibration tiles, but the bundle has 41"
    assert judge(bundle, coverage=0.976).prediction_set.status == "available"


def test_no_calibration_tile_is_too_few(tmp_path: Path) -> None:
    said = judge(bundle_of(tmp_path, a_record(scores=()))).prediction_set
    assert (said.status, said.labels) == ("unavailable", None)


def test_bundle_without_a_record_is_judged_by_what_needs_none(old_bundle: Bundle) -> None:
    said = judge(old_bundle, tile=plain(255, 255, 255))
    assert said.review.reasons == []
    assert (said.prediction_set.status, said.prediction_set.reason) == ("unavailable", NO_RECORD)
    assert (said.checks.distance, said.checks.max_distance) == (None, None)
    doubtful = judge(old_bundle, probabilities=(0.4, 0.3, 0.3), header=TileHeader("PNG", 99, 999))
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
    assert judge(old_bundle, tile=tile).review.reasons == []
    assert judge(old_bundle, tile=tile, **settings).review.reasons == [reason]


@pytest.mark.parametrize("setting", ["coverage", "review_min_probability", "review_max_distance"])
@pytest.mark.parametrize("value", [math.nan, -0.1])
def test_limit_that_is_none_is_no_setting(setting: str, value: float) -> None:
    with pytest.raises(ValueError, match=setting):
        Settings(**{setting: value})  # type: ignore[arg-type] # any


def test_reference_that_nobody_vouches_for_is_refused(bundle: Bundle) -> None:
    files = {k: v for k, v in bundle.manifest.files.items() if k != REFERENCE_NAME}
    unlisted = bundle.manifest.model_copy(update={"files": files})
    with pytest.raises(ManifestError, match="not listed"):
        Assessor(dataclasses.replace(bundle, manifest=unlisted), Settings())


def test_reference_of_another_network_is_refused(tmp_path: Path) -> None:
    root = build_bundle(tmp_path, record=a_record(scores=SCORES))
    ReferenceTiles(np.eye(5, 512)).write(root / REFERENCE_NAME)
    write_manifest(root / MANIFEST_NAME, manifest_of(root, record=a_record()))
    with pytest.raises(ManifestError, match="size 512, the model's 1280"):
        Assessor(open_bundle(root), Settings())
