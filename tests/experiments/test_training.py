"""Nets in training as experiments see them, and what they are summed up to."""

import math

import numpy as np
import pytest
from drawn import drawn_images

from caffelite.experiments.bench import Bench
from caffelite.experiments.moving_average import SIMPLE, Averages, Moment, exponential_weights, simple_weights
from caffelite.experiments.nets import mlp
from caffelite.experiments.result import Curve, Panel, Result, after, reached, sentence, spread, verdict, when
from caffelite.experiments.training import Trained

SGD = {"type": "SGD", "base_lr": 0.05}


IMAGES = drawn_images(300, 200)


def net(settings: str = "moving_average_fraction: 0.9", batch: int = 30) -> str:
    return mlp([20, 10], "ReLU", (1,), batch=batch, settings=settings)


def test_a_seed_decides_everything() -> None:
    losses = []
    for seed in (1, 1, 2):
        with Trained(Bench(IMAGES), net(), seed, 30, **SGD) as trained:
            trained.train(12)
            losses.append(trained.losses)
    assert losses[0] == losses[1] != losses[2]


def test_every_image_is_seen_once_an_epoch() -> None:
    with Trained(Bench(IMAGES), net(), 1, 30, **SGD) as trained:
        for _ in range(2):
            seen = []
            for _ in range(10):
                trained.next_batch(trained.solver.net)
                seen.append(trained.solver.net.blobs["data"].data.reshape(30, -1).copy())
            ours, theirs = np.concatenate(seen), IMAGES.train.reshape(300, -1)
            assert sorted(map(bytes, ours)) == sorted(map(bytes, theirs))


def test_the_test_set_is_measured_whole_and_nothing_is_changed() -> None:
    with Trained(Bench(IMAGES), net(), 1, 30, **SGD) as trained:
        trained.train(20)
        before = {name: [blob.copy() for blob in blobs] for name, blobs in trained.norms().items()}
        whole = trained.test(True)
        assert trained.test(True, 50) == pytest.approx(whole, rel=1e-5)
        shuffled = np.random.default_rng(1).permutation(200)
        assert trained.test(True, 50, shuffled) == pytest.approx(whole, rel=1e-5)
        # One image normalized by itself is nothing: all are taken for one class.
        by_itself = trained.test(False, 1)[0]
        assert by_itself in [100 * np.mean(IMAGES.test_labels == label) for label in range(10)]
        assert by_itself < whole[0]
        for name, blobs in trained.norms().items():
            for blob, old in zip(blobs, before[name], strict=True):
                np.testing.assert_array_equal(blob, old)
        # The weights of the moment, not those of the first test.
        trained.train(20)
        assert trained.test(True) != whole


def test_statistics_are_lent() -> None:
    with Trained(Bench(IMAGES), net(), 1, 30, **SGD) as trained:
        trained.train(20)
        right = trained.test(True)
        (blobs,) = trained.norms().values()
        other = {"bn1": (blobs[0] * 0, blobs[1] * 0)}
        with trained.statistics(other):
            assert not blobs[0].any() and blobs[2][0] == 1
            assert trained.test(True)[1] > 2 * right[1]
        assert trained.test(True) == right


def test_population_statistics_are_those_of_the_images() -> None:
    with Trained(Bench(IMAGES), net(batch=300), 1, 300, **SGD) as trained:
        trained.train(3)
        stored = {name: [blob.copy() for blob in blobs] for name, blobs in trained.norms().items()}
        ((mean, variance),) = trained.population(1).values()
        weights = trained.solver.net.params["ip1"][0].data.astype(np.float64)
        values = IMAGES.train.reshape(300, -1) @ weights.T
        np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(variance, values.var(axis=0, ddof=1), rtol=1e-4)
        for name, blobs in trained.norms().items():
            for blob, old in zip(blobs, stored[name], strict=True):
                np.testing.assert_array_equal(blob, old)


@pytest.mark.parametrize(
    ("settings", "weights"),
    [
        ("moving_average_fraction: 0.9", exponential_weights(25, 0.9)),
        ("", exponential_weights(25, 0.999)),
        ("moving_average: SIMPLE", simple_weights(25, 25)),
    ],
)
def test_averages_are_those_of_the_layer(settings: str, weights: np.ndarray) -> None:
    averages = Averages()
    with Trained(Bench(IMAGES), net("moving_average_fraction: 0"), 1, 30, averages.add, **SGD) as trained:
        trained.train(25)
    with Trained(Bench(IMAGES), net(settings), 1, 30, **SGD) as trained:
        trained.train(25)
        for name, (mean, variance, factor) in trained.norms().items():
            ours = averages.values(weights)[name]
            np.testing.assert_allclose(ours[0], mean / factor, rtol=1e-4, atol=1e-6)
            np.testing.assert_allclose(ours[1], variance / factor, rtol=1e-4, atol=1e-7)


def test_a_window_is_the_mean_of_the_last_batches() -> None:
    averages = Averages()
    for value in (1.0, 2.0, 4.0, 8.0):
        averages.add({"bn": [np.full(2, value), np.full(2, 10 * value), np.ones(1)]})
    moment = Moment(batches=4, epoch=2, tested=1, lowered=3)
    means = {way: averages.values(simple_weights(4, last(moment)))["bn"][0][0] for way, last in SIMPLE.items()}
    assert means == {
        "simple, all batches": 3.75,
        "simple, the last epoch": 6,
        "simple, the last 500 batches": 3.75,
        "simple, the last 100 batches": 3.75,
        "simple, anew after each test": pytest.approx(14 / 3),
        "simple, since the rate was lowered": 8,
    }
    assert averages.values(simple_weights(4, 2))["bn"][1][0] == 60


def test_a_rate_is_lowered() -> None:
    rates = {"lr_policy": "multistep", "gamma": 0.1, "stepvalue": [2]}
    with Trained(Bench(IMAGES), net(), 1, 30, **SGD, **rates) as trained:
        trained.train(2)
        assert trained.solver.rate == pytest.approx(0.05)
        trained.train(1)
        assert trained.solver.rate == pytest.approx(0.005)


def test_marks_end_with_the_last_iteration() -> None:
    bench = Bench(IMAGES, share=0.5)
    assert bench.marks(100, 10) == [1, 4, 9, 16, 25, 36, 49, 64, 81, 100]
    assert bench.marks(1, 10) == [1]
    assert bench.of(10) == 5 and bench.of(1) == 1 and bench.epochs(2, 30) == 10


def test_words_for_figures() -> None:
    assert spread([1.26]) == "1.3" == spread([1.26, 1.26])
    assert spread([1, 2], "{:.0f}") == "2 (1 to 2)"
    assert spread([1, math.nan]) == "no number"
    assert reached([1, 2, 3], [5, 90, 80], 90) == 2
    assert reached([1], [math.nan], 90) == math.inf
    assert when([math.inf, math.inf]) == "never"
    assert when([1, math.inf]) == "1.00, never in 1 of 2 runs"
    assert after([math.inf]) == "never" and after([0.5]) == "after 0.50 epochs"
    assert sentence(["with a", "with b"]) == "With a; with b."
    assert [verdict(True, True), verdict(True, False), verdict(False)] == ["held", "held in part", "did not hold"]


def test_results_are_written_and_read() -> None:
    panel = Panel("t", "x", "y", [Curve("c", [1, 2], [[0.5, math.nan], [0.25, 1.0]])], y_scale="log")
    result = Result("n", "T", "s", "c", "held", "e", ["a", "b"], [["x", "1 (0 to 2)"]], [panel], "d", [1, 2], 1.0)
    again = Result.from_json(result.to_json())
    assert math.isnan(again.panels[0].curves[0].ys[0][1])
    assert again.to_json() == result.to_json() and "NaN" not in result.to_json()
    assert result.table() == "| a | b |\n| --- | --: |\n| x | 1 (0 to 2) |"
