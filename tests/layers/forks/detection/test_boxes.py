"""The kernels for boxes against one box at a time."""

import numpy as np
import pytest
from naive_boxes import decode, overlap, random_boxes, suppress

from caffelite.kernels import boxes as kernels

CODES = {"CORNER": 1, "CENTER_SIZE": 2, "CORNER_SIZE": 3}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("pixels", [False, True])
def test_overlaps(dtype: type, pixels: bool) -> None:
    rng = np.random.default_rng(1)
    a, b = random_boxes(rng, 7).astype(dtype), random_boxes(rng, 5).astype(dtype)
    if pixels:
        a, b = np.round(a * 20), np.round(b * 20)
    b[3] = a[2]
    a[4] = a[4, [2, 3, 0, 1]]  # inside out
    out = np.full((7, 5), np.nan, dtype)
    kernels.overlaps(a, b, out, pixels)()
    expected = [[overlap(x, y, float(pixels)) for y in b] for x in a]
    np.testing.assert_allclose(out, expected, rtol=1e-5)
    assert out[2, 3] == 1
    assert out.min() == 0


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("scaled", [False, True])
def test_decode_and_encode(code: str, scaled: bool) -> None:
    rng = np.random.default_rng(2)
    locations = rng.standard_normal((2, 5, 3, 4)).astype(np.float32) * 0.3
    priors = random_boxes(rng, 5)
    variances = rng.uniform(0.1, 0.5, (5, 4)).astype(np.float32)
    out = np.zeros_like(locations)
    kernels.decode(locations, priors, variances, out, CODES[code], scaled)()
    for (n, p, c), _ in np.ndenumerate(out[..., 0]):
        expected = decode(locations[n, p, c], priors[p], variances[p] if scaled else np.ones(4), code)
        np.testing.assert_allclose(out[n, p, c], expected, rtol=1e-4, atol=1e-6)
    back = kernels.encode(out[1, :, 2], priors, variances, CODES[code], scaled)
    np.testing.assert_allclose(back, locations[1, :, 2], rtol=1e-3, atol=1e-5)


def test_each_image_may_have_priors_of_its_own() -> None:
    rng = np.random.default_rng(3)
    locations = rng.standard_normal((2, 5, 1, 4)).astype(np.float32)
    priors, variances = random_boxes(rng, 2, 5), np.ones((5, 4), np.float32)
    out = np.zeros_like(locations)
    kernels.decode(locations, priors, variances, out, kernels.CORNER, True)()
    np.testing.assert_allclose(out[:, :, 0], priors + locations[:, :, 0], rtol=1e-6)


@pytest.mark.parametrize(("eta", "room", "pixels"), [(1, 40, False), (0.8, 40, False), (1, 6, False), (1, 40, True)])
def test_suppression(eta: float, room: int, pixels: bool) -> None:
    rng = np.random.default_rng(4)
    boxes = np.tile(random_boxes(rng, 3, 8), (1, 5, 1)) + rng.uniform(0, 0.05, (3, 40, 4)).astype(np.float32)
    boxes *= 100 if pixels else 1
    scores = rng.random((3, 40)).astype(np.float32)
    scores[0, 3] = scores[0, 9]
    step = kernels.Suppression(boxes, 3, 40, room, 0.55, eta, pixels)
    for t in range(3):
        step.fill(t, 40 * t + kernels.ranked(scores[t], 0.2))
    step()
    for t in range(3):
        order = sorted((i for i in range(40) if scores[t, i] > 0.2), key=lambda i: (-scores[t, i], i))  # noqa: B023
        expected = suppress(boxes[t], order, 0.55, eta, float(pixels), room)
        assert len(expected) < len(order)
        assert (step.kept[t, : step.kept_counts[t]] - 40 * t).tolist() == expected


def test_ranked() -> None:
    scores = np.float32([0.2, 0.9, np.nan, 0.9, 0.1, 0.5])
    assert kernels.ranked(scores, 0.1).tolist() == [1, 3, 5, 0]
    assert kernels.ranked(scores, 0.1, 2).tolist() == [1, 3]
    assert kernels.ranked(scores, most=0).tolist() == []
