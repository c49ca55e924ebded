import naive
import numpy as np
import pytest

from caffelite.kernels import dropout
from caffelite.kernels.engine import settings

SIZE = 40_003


def drawn(seed: int, passes: int, ratio: float = 0.3, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Outputs for inputs of 1, and the mask."""
    y, mask = np.full(size, 9, np.float32), np.full(size, 9, np.uint8)
    dropout.forward(np.ones(size, np.float32), y, mask, seed, np.int64([passes]), ratio, 1 / (1 - ratio))()
    return y, mask


@pytest.mark.parametrize("ratio", [0, 0.3, 0.5, 0.95])
def test_what_is_kept_is_scaled(ratio: float) -> None:
    y, mask = drawn(1, 0, ratio)
    assert set(np.unique(mask)) <= {0, 1}
    np.testing.assert_allclose(y, mask / (1 - ratio), rtol=1e-6)
    np.testing.assert_allclose(mask.mean(), 1 - ratio, atol=4 * np.sqrt(ratio * (1 - ratio) / SIZE))


def test_backward_goes_through_the_same_mask() -> None:
    _, mask = drawn(1, 0)
    dy = np.random.default_rng(0).standard_normal(SIZE).astype(np.float32)
    dx = dy.copy()
    dropout.backward(dx, dx, mask, 2.0)()
    np.testing.assert_array_equal(dx, naive.masked(dy, mask, 2))


def test_the_mask_depends_on_seed_and_pass() -> None:
    first = drawn(1, 0)[1]
    np.testing.assert_array_equal(first, drawn(1, 0)[1])
    for other in (drawn(2, 0)[1], drawn(1, 1)[1]):
        # Two masks that have nothing to do with each other agree in 0.7² + 0.3² of the places.
        np.testing.assert_allclose((first == other).mean(), 0.58, atol=0.02)


def test_the_mask_does_not_depend_on_the_number_of_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    masks = []
    for n in (1, 2, 3):
        monkeypatch.setattr(settings, "threads", lambda n=n: n)
        masks.append(drawn(5, 3)[1])
    for mask in masks[1:]:
        np.testing.assert_array_equal(masks[0], mask)
    # Nor on how many come after it.
    np.testing.assert_array_equal(masks[0][:77], drawn(5, 3, size=77)[1])


def test_scaled() -> None:
    x = np.random.default_rng(0).standard_normal(4097).astype(np.float32)
    y = x.copy()
    dropout.scaled(y, y, 0.75)()
    np.testing.assert_array_equal(y, x * np.float32(0.75))
