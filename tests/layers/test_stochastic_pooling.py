"""STOCHASTIC pooling: how often an element is drawn, what TEST computes, and the gradients of both."""

import numpy as np
from test_layers import net

from caffelite.words import TEST, TRAIN

POOL = 'layer { name: "L" type: "Pooling" bottom: "x" top: "y" pooling_param { pool: STOCHASTIC kernel_size: 2 stride: 2 } }\n'


def test_elements_are_drawn_as_often_as_their_share() -> None:
    made = net("force_backward: true\n" + POOL, TRAIN, keep=True)
    window = np.array([[1.0, 2.0], [3.0, 4.0]], np.float32)
    made.blobs["x"].data[...] = np.tile(window, (4, 4))
    drawn = []
    for _ in range(30):
        made.forward()
        drawn.append(made.blobs["y"].data.copy())
    values = np.concatenate([d.reshape(-1) for d in drawn])
    shares = [(values == v).mean() for v in (1, 2, 3, 4)]
    # 11,520 draws: a share is known to about 0.005.
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.02)
    assert not np.array_equal(drawn[0], drawn[1]), "every pass draws anew"


def test_the_gradient_goes_to_what_was_drawn() -> None:
    made = net("force_backward: true\n" + POOL, TRAIN, keep=True)
    x = made.blobs["x"].data
    x[...] = np.random.default_rng(3).random(x.shape)
    made.forward()
    diff = made.blobs["y"].diff
    diff[...] = 1
    made.backward()
    gradient = made.blobs["x"].diff
    assert gradient.sum() == diff.size
    np.testing.assert_allclose((gradient * x).sum(), made.blobs["y"].data.sum(), rtol=1e-5)


def test_a_seed_draws_the_same_again() -> None:
    results = []
    for seed in (5, 5, 6):
        made = net(POOL, TRAIN, seed=seed)
        made.blobs["x"].data[...] = np.random.default_rng(3).random(made.blobs["x"].shape)
        made.forward()
        results.append(made.blobs["y"].data.copy())
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_in_the_test_phase_it_is_the_mean_under_these_probabilities() -> None:
    made = net(POOL, TEST)
    x = made.blobs["x"].data
    x[...] = np.random.default_rng(3).random(x.shape)
    made.forward()
    windows = x.reshape(4, 6, 4, 2, 4, 2)
    expected = (windows**2).sum(axis=(3, 5)) / windows.sum(axis=(3, 5))
    np.testing.assert_allclose(made.blobs["y"].data, expected, rtol=1e-5)
