from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from training.experiments.study.head import Head, HeadSettings, fit_head, mean_loss

N = 60
RNG = np.random.default_rng(0)
TRUTH = np.arange(N) % 3
FEATURES = RNG.normal(size=(N, 3, 16)).astype(np.float32)
FEATURES[np.arange(N), :, TRUTH] += 4.0
TRAIN, TEST = np.arange(45), np.arange(45, N)
SETTINGS = HeadSettings(learning_rate=0.01, epochs=(8,), batch_size=8, hidden_units=12)


def test_fit_head_learns_and_is_reproducible() -> None:
    one = fit_head(FEATURES, TRUTH, TRAIN, TEST, SETTINGS)
    other = fit_head(FEATURES, TRUTH, TRAIN, TEST, SETTINGS)
    assert one.accuracy[-1] > one.accuracy[0]
    assert one.loss[-1] < one.loss[0]
    assert (one.answers[-1] == TRUTH[TEST]).mean() >= 0.8
    np.testing.assert_array_equal(one.logits[8], other.logits[8])
    different = fit_head(FEATURES, TRUTH, TRAIN, TEST, replace(SETTINGS, seed=(1,)))
    assert (one.logits[8] != different.logits[8]).any()


def test_long_fit_begins_with_the_short_one() -> None:
    short = fit_head(FEATURES, TRUTH, TRAIN, TEST, replace(SETTINGS, epochs=(3,)))
    long = fit_head(FEATURES, TRUTH, TRAIN, TEST, replace(SETTINGS, epochs=(3, 8)))
    np.testing.assert_array_equal(short.loss, long.loss[:3])
    np.testing.assert_array_equal(short.answers, long.answers[:3])
    np.testing.assert_array_equal(short.logits[3], long.logits[3])
    assert set(long.logits) == {3, 8}


def test_fit_head_never_sees_the_test_tiles() -> None:
    features = FEATURES.copy()
    features[TEST] = 1e6
    one = fit_head(FEATURES, TRUTH, TRAIN, TEST, SETTINGS)
    other = fit_head(features, TRUTH, TRAIN, TEST, SETTINGS)
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_fit_head_shows_each_original_and_as_many_views_as_configured() -> None:
    """An original holds 1, its views 2 and 4, so a spy can count them."""
    shown = np.zeros((6, 3, 1), dtype=np.float32)
    shown[:, :, 0] = [1, 2, 4]
    seen: list[float] = []

    class Spy(Head):
        def step(self, features, targets, learning_rate):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - as `Head.step`
            seen.extend(features[:, 0].tolist())
            return super().step(features, targets, learning_rate)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.experiments.study.head.Head", Spy)
        settings = HeadSettings(0.01, (40,), batch_size=5, hidden_units=2, n_views=1)
        fit_head(shown, np.arange(6) % 3, np.arange(6), np.array([], dtype=np.int64), settings)
    counts = {value: seen.count(value) for value in (1, 2, 4)}
    assert counts[1] == 40 * 6
    assert counts[2] + counts[4] == 40 * 6
    assert min(counts[2], counts[4]) > 80  # of 240; both are equally likely


def test_fresh_views_replace_cached_ones() -> None:
    epochs: list[int] = []

    def draw(epoch: int) -> np.ndarray:
        epochs.append(epoch)
        return FEATURES[TRAIN, 1:2] + epoch

    settings = replace(SETTINGS, n_views=1, epochs=(3,))
    fit_head(FEATURES[:, :1], TRUTH, TRAIN, TEST, settings, draw)
    assert epochs == [1, 2, 3]


def test_fit_head_stays_finite_at_a_far_too_high_rate() -> None:
    fitted = fit_head(FEATURES * 100, TRUTH, TRAIN, TEST, replace(SETTINGS, learning_rate=10.0))
    assert np.isfinite(fitted.loss).all()
    assert np.isfinite(fitted.test_loss).all()


def test_mean_loss_is_the_cross_entropy() -> None:
    logits = np.array([[0.0, 0.0, 0.0], [800.0, 0.0, 0.0]], dtype=np.float32)
    assert mean_loss(logits, np.array([1, 0])) == pytest.approx(np.log(3) / 2)


@pytest.mark.tensorflow
def test_the_head_trains_as_keras_does() -> None:
    """Same weights, same batches: after 250 steps of Adam the same weights."""
    import keras

    head = Head(16, 12, 3, np.random.default_rng(5))
    dense = keras.layers.Dense
    model = keras.Sequential([keras.layers.Input((16,)), dense(12, activation="relu"), dense(3)])
    model.set_weights(head.parts)
    loss = keras.losses.CategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(0.01), loss)
    one_hot = np.eye(3, dtype=np.float32)[TRUTH]
    for number in range(250):
        batch = (np.arange(9) * 7 + number) % N
        ours, _ = head.step(FEATURES[batch, 0], one_hot[batch], 0.01)
        theirs = model.train_on_batch(FEATURES[batch, 0], one_hot[batch])
        assert ours == pytest.approx(float(theirs), abs=1e-3)
    for mine, their in zip(head.parts, model.get_weights(), strict=True):
        np.testing.assert_allclose(mine, their, atol=2e-3)
