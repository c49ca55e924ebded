"""STOCHASTIC pooling: how often an element is drawn, what TEST computes, and the gradients of both."""

import numpy as np
from runner import layer_net

from caffelite.words import TEST

SETTINGS = "pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 }"
SHAPE = (4, 6, 8, 8)


def test_elements_are_drawn_as_often_as_their_share() -> None:
    made = layer_net("Pooling", SETTINGS, SHAPE)
    window = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    made.blobs["x0"].data[...] = np.tile(window, (4, 4))
    drawn = []
    for _ in range(30):
        made.forward()
        drawn.append(made.blobs["y0"].data.copy())
    values = np.concatenate([d.reshape(-1) for d in drawn])
    shares = [(values == v).mean() for v in (1, 2, 3, 4)]
    # 11,520 draws: a share is known to about 0.005.
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.02)
    assert not np.array_equal(drawn[0], drawn[1]), "every pass draws anew"


def test_the_gradient_goes_to_what_was_drawn() -> None:
    made = layer_net("Pooling", SETTINGS, SHAPE)
    x = made.blobs["x0"].data
    x[...] = np.random.default_rng(3).random(x.shape)
    made.forward()
    diff = made.blobs["y0"].diff
    diff[...] = 1
    made.backward()
    gradient = made.blobs["x0"].diff
    assert gradient.sum() == diff.size
    np.testing.assert_allclose((gradient * x).sum(), made.blobs["y0"].data.sum(), rtol=1e-5)


def test_a_seed_draws_the_same_again() -> None:
    results = []
    for seed in (5, 5, 6):
        made = layer_net("Pooling", SETTINGS, SHAPE, seed=seed)
        made.blobs["x0"].data[...] = np.random.default_rng(3).random(made.blobs["x0"].shape)
        made.forward()
        results.append(made.blobs["y0"].data.copy())
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_in_the_test_phase_it_is_the_mean_under_these_probabilities() -> None:
    made = layer_net("Pooling", SETTINGS, SHAPE, phase=TEST)
    x = made.blobs["x0"].data
    x[...] = np.random.default_rng(3).random(x.shape)
    made.forward()
    windows = x.reshape(4, 6, 4, 2, 4, 2)
    expected = (windows**2).sum(axis=(3, 5)) / windows.sum(axis=(3, 5))
    np.testing.assert_allclose(made.blobs["y0"].data, expected, rtol=1e-5)
