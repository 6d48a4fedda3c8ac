"""The resolution of a view alone predicts no label."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from training.config import Balance
from training.data.groups import Groups
from training.fit.sampling import all_views, weigh_views, without_enlarged
from training.networks.logistic_head import fit_logistic

BALANCES: tuple[Balance, ...] = ("label", "slide", "case", "case_and_label")
N_LABELS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """Tiles, then thumbnails, with two views at each resolution."""

    classes: NDArray[np.int64]
    groups: Groups
    n_real: int

    @property
    def pairs(self) -> NDArray[np.int64]:
        choose = without_enlarged(all_views(4), self.n_real, 2)
        return choose(np.arange(len(self.classes)), np.random.default_rng(0))

    def weights(self, balance: Balance) -> NDArray[np.float64]:
        return weigh_views(self.pairs, 2, balance, self.classes, self.groups)


@st.composite
def shown_tiles(draw: st.DrawFn) -> Shown:
    """Thumbnails have the labels of tiles: a label without a tile has no view to compare with."""
    tile = st.tuples(st.integers(0, N_LABELS - 1), st.integers(0, 3), st.integers(0, 2))
    real = draw(st.lists(tile, min_size=1, max_size=12))
    seen = sorted({label for label, _, _ in real})
    thumbnail = st.tuples(st.sampled_from(seen), st.integers(0, 3), st.integers(0, 2))
    everything = np.array(real + draw(st.lists(thumbnail, max_size=12)))
    labels, cases, blocks = everything.T
    return Shown(labels, Groups(slides=3 * cases + blocks, cases=cases), len(real))


@given(shown=shown_tiles())
def test_weigh_views_gives_each_label_the_same_weight_at_each_resolution(shown: Shown) -> None:
    tiles, views = shown.pairs.T
    labels = shown.classes[tiles]
    for balance in BALANCES:
        weights = shown.weights(balance)
        totals = [
            weights[(labels == label) & ((views >= 2) == is_low)].sum()
            for label in np.unique(shown.classes)
            for is_low in (False, True)
        ]
        np.testing.assert_allclose(totals, totals[0], err_msg=balance)
        assert weights.min() > 0


@given(shown=shown_tiles())
def test_weigh_views_counts_the_groups_of_a_label_equally(shown: Shown) -> None:
    tiles, views = shown.pairs.T
    weights, labels = shown.weights("case_and_label"), shown.classes[tiles]
    for label in np.unique(shown.classes):
        chosen = (labels == label) & (views >= 2)
        cases = shown.groups.cases[tiles[chosen]]
        totals = np.bincount(cases, weights[chosen])[np.unique(cases)]
        np.testing.assert_allclose(totals, totals[0])


@given(shown=shown_tiles())
def test_weigh_views_adds_up_to_the_tiles_at_each_resolution(shown: Shown) -> None:
    n_counted = shown.n_real + len(shown.classes)
    for balance in (*BALANCES, "none"):
        assert shown.weights(balance).sum() == pytest.approx(n_counted)


@given(shown=shown_tiles())
def test_without_enlarged_never_shows_a_thumbnail_at_full_resolution(shown: Shown) -> None:
    tiles, views = shown.pairs.T
    assert views[tiles >= shown.n_real].min(initial=2) >= 2
    assert len(shown.pairs) == 4 * shown.n_real + 2 * (len(shown.classes) - shown.n_real)


def test_a_classifier_that_sees_the_resolution_alone_is_at_chance() -> None:
    """Nine in ten thumbnails have one label; unweighted, low resolution would mean that label."""
    classes = np.array([0] * 6 + [1] * 3 + [2] * 3 + [2] * 90 + [0] * 10)
    cases = np.arange(len(classes)) % 4
    shown = Shown(classes, Groups(slides=cases, cases=cases), n_real=12)
    tiles, views = shown.pairs.T
    is_low = (views >= 2)[:, None].astype(float)

    def learnt(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        linear = fit_logistic(is_low, classes[tiles], weights, N_LABELS, 10.0)
        logits = linear(np.array([[0.0], [1.0]]))
        powers = np.exp(logits)
        probabilities: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
        return probabilities

    np.testing.assert_allclose(learnt(shown.weights("case_and_label")), 1 / 3, atol=1e-2)
    assert learnt(shown.weights("none"))[1, 2] > 0.7
