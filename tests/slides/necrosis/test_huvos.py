"""The Huvos group is named only if every interval agrees."""

from __future__ import annotations

import pytest

from app.slides.necrosis.huvos import dead_slide_bias, dead_slide_reading, huvos_group
from app.slides.results import IntervalMethod, RatioInterval
from tests.slides.necrosis.patchy_slides import PATIENT_V3, SLIDE_V3

Ends = tuple[float, float]


def interval(method: IntervalMethod, ends: Ends) -> RatioInterval:
    return RatioInterval(method=method, level=0.95, low=ends[0], high=ends[1], detail="")


@pytest.mark.parametrize(
    ("bootstrap", "patient", "group"),
    [
        ((0.92, 0.99), (0.90, 1.00), "good"),
        ((0.10, 0.89), (0.20, 0.899), "poor"),
        ((0.92, 0.99), (0.89, 1.00), "undetermined"),
        ((0.80, 0.90), (0.70, 0.80), "undetermined"),
        ((0.91, 0.99), (0.20, 0.80), "undetermined"),
    ],
)
def test_group_is_named_if_every_interval_lies_on_one_side(
    bootstrap: Ends, patient: Ends, group: str
) -> None:
    found, reason = huvos_group(
        [interval("block_bootstrap", bootstrap), interval("patient_confusion", patient)]
    )
    assert found == group
    assert (reason is None) == (group != "undetermined")


def test_reason_names_the_interval_on_both_sides() -> None:
    ends = [interval("block_bootstrap", (0.92, 0.99)), interval("patient_confusion", (0.58, 1.0))]
    _, reason = huvos_group(ends)
    assert reason == (
        "The ratio may lie on either side of 0.90: 0.58 to 1.00 with the errors on unseen patients."
    )


def test_reason_names_intervals_that_contradict_each_other() -> None:
    ends = [interval("block_bootstrap", (0.92, 0.99)), interval("patient_confusion", (0.2, 0.8))]
    _, reason = huvos_group(ends)
    assert reason == (
        "The intervals contradict each other: 0.92 to 0.99 by the tiles of the slide alone, but "
        "0.20 to 0.80 with the errors on unseen patients."
    )


@pytest.mark.parametrize("method", ["slide_confusion", "block_bootstrap"])
def test_group_needs_errors_on_unseen_patients(method: IntervalMethod) -> None:
    found, reason = huvos_group([interval(method, (0.1, 0.2))])
    assert found == "undetermined"
    assert reason == "The model's errors on patients that it was not trained on were not measured."


def test_group_may_rest_on_the_sites_own_tiles() -> None:
    assert huvos_group([interval("site_confusion", (0.1, 0.2))]) == ("poor", None)


def test_dead_slide_reads_less_than_all_dead() -> None:
    # 0.3 of the tissue is other: (0.3/14 + 0.7 * 12/13) / (0.3/14 + 0.7 * 12/13 + 0.3 * 4/14)
    assert dead_slide_reading(SLIDE_V3) == pytest.approx(0.886, abs=0.0005)
    assert dead_slide_reading([[5, 0, 0], [0, 5, 0], [0, 0, 5]]) == 1.0


@pytest.mark.parametrize(
    "confusion",
    [
        [[0, 0, 0], [1, 12, 0], [0, 0, 14]],
        [[9, 1, 4], [0, 0, 0], [0, 0, 14]],
        [[9, 0, 0], [12, 0, 0], [0, 0, 14]],
    ],
    ids=["no other tissue", "no dead tumour", "no tumour among the answers"],
)
def test_dead_slide_reads_nothing_if_it_was_not_measured(confusion: list[list[int]]) -> None:
    assert dead_slide_reading(confusion) is None
    assert dead_slide_bias({"slide_confusion": confusion}) is None


def test_bias_names_both_measurements() -> None:
    bias = dead_slide_bias({"slide_confusion": SLIDE_V3, "patient_confusion": PATIENT_V3})
    assert bias == (
        "This model would give a slide without viable tumour, with 30 % other tissue, a ratio of "
        "0.89 by the errors on unseen slides and 0.91 by the errors on unseen patients."
    )
