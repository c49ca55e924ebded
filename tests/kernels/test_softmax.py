import naive
import numpy as np
import pytest

from caffelite.kernels import softmax

SIZES = [(1, 1, 1), (5, 10, 1), (3, 7, 5), (2, 1000, 1), (1, 21, 333), (67, 2, 3)]


def scores(size: tuple[int, int, int]) -> np.ndarray:
    return (3 * np.random.default_rng(sum(size)).standard_normal(size)).astype(np.float32)


def labels_of(size: tuple[int, int, int]) -> np.ndarray:
    return np.random.default_rng(1).integers(0, size[1], (size[0], size[2])).astype(np.float32)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("in_place", [False, True])
def test_forward_and_backward(size: tuple[int, int, int], in_place: bool) -> None:
    x = scores(size)
    p = naive.softmax(x)
    y = x if in_place else np.zeros_like(x)
    softmax.forward(x, y, *size)()
    np.testing.assert_allclose(y, p, rtol=3e-6, atol=1e-9)
    dy = scores(size)[::-1].copy()
    expected = naive.softmax_gradient(p, dy)
    dx = dy if in_place else np.zeros_like(dy)
    softmax.backward(y, dy, dx, *size)()
    np.testing.assert_allclose(dx, expected, rtol=1e-4, atol=3e-6)


def test_large_scores_do_not_overflow() -> None:
    x = np.float32([[[1e30], [1e30], [-1e30]], [[-3e38], [-3e38], [-3e38]], [[np.nan], [0], [0]]])
    y = np.zeros_like(x)
    softmax.forward(x, y, 3, 3, 1)()
    np.testing.assert_allclose(y[:2, :, 0], [[0.5, 0.5, 0], [1 / 3] * 3], rtol=1e-6)
    assert np.isnan(y[2]).all()


@pytest.mark.parametrize("size", SIZES[1:])
@pytest.mark.parametrize("ignore", [None, 1, -1])
def test_loss_and_its_gradient(size: tuple[int, int, int], ignore: int | None) -> None:
    outer, channels, inner = size
    labels = labels_of(size)
    if ignore == -1:
        labels[0, 0] = -1
    counted = np.ones_like(labels, bool) if ignore is None else labels != ignore
    p = naive.softmax(scores(size)).astype(np.float32)
    at_label = np.arange(channels)[None, :, None] == labels[:, None, :]
    each = -np.log((p * at_label).sum(axis=1, dtype=np.float64), where=counted, out=np.zeros(labels.shape))

    losses, counts, wrong = np.zeros(outer, np.float32), np.zeros(outer, np.int64), np.zeros(1, np.int64)
    softmax.loss(p, labels, losses, counts, wrong, channels, inner, ignore)()
    np.testing.assert_allclose(losses, each.sum(axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(counts, counted.sum(axis=1))
    assert wrong[0] == 0

    out, divisor = np.zeros(1, np.float32), np.zeros(1)
    softmax.mean(losses, counts, 0, divisor, out)()
    assert divisor[0] == max(counted.sum(), 1)
    assert out[0] == pytest.approx(each.sum() / divisor[0], rel=1e-5)
    softmax.mean(losses, counts, 4, divisor, out)()
    assert divisor[0] == 4
    assert out[0] == pytest.approx(each.sum() / 4, rel=1e-5)

    dx = np.full_like(p, 9)
    softmax.gradient(p, labels, dx, np.float32([0.5]), divisor, channels, inner, ignore)()
    np.testing.assert_allclose(dx, np.where(counted[:, None], p - at_label, 0) / 8, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("bad", [10, -1, np.nan, 1e18])
def test_a_label_that_is_no_class_is_reported_by_its_place(bad: float) -> None:
    size = (4, 10, 3)
    labels = labels_of(size)
    labels[2, 1] = bad
    losses, counts, wrong = np.zeros(4, np.float32), np.zeros(4, np.int64), np.zeros(1, np.int64)
    softmax.loss(np.full(size, 0.1, np.float32), labels, losses, counts, wrong, 10, 3, None)()
    assert wrong[0] == 1 + 2 * 3 + 1


def test_a_probability_of_zero_costs_as_much_as_the_smallest_number() -> None:
    p = np.float32([[[0], [1]]])
    losses, counts, wrong = np.zeros(1, np.float32), np.zeros(1, np.int64), np.zeros(1, np.int64)
    softmax.loss(p, np.float32([[0]]), losses, counts, wrong, 2, 1, None)()
    np.testing.assert_allclose(losses, 87.3365, rtol=1e-5)
