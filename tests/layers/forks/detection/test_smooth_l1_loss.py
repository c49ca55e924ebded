"""SmoothL1Loss against plain NumPy."""

import numpy as np
import pytest
from runner import layer_net, outputs

from caffelite.errors import NetError
from caffelite.words import TEST


def smooth(d: np.ndarray, sigma: float = 1) -> np.ndarray:
    return np.where(np.abs(d) < 1 / sigma**2, 0.5 * (sigma * d) ** 2, np.abs(d) - 0.5 / sigma**2)


@pytest.mark.parametrize("bottoms", [2, 3, 4])
@pytest.mark.parametrize("sigma", [1, 3])
def test_the_loss(bottoms: int, sigma: float) -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((4, 5, 5, 33, 6, 2)).astype(np.float32)
    inside, outside = (x[2] if bottoms > 2 else 1), (x[3] if bottoms > 3 else 1)
    expected = (outside * smooth(inside * (x[0] - x[1]), sigma)).sum()
    settings = f"smooth_l1_loss_param {{ sigma: {sigma} }}"
    assert outputs(layer_net("SmoothL1Loss", settings, *list(x[:bottoms]), phase=TEST, force=False))[
        0
    ] == pytest.approx(expected / 5, rel=1e-4)
    settings += " loss_param { normalization: NONE }"
    assert outputs(layer_net("SmoothL1Loss", settings, *list(x[:bottoms]), phase=TEST, force=False))[
        0
    ] == pytest.approx(expected, rel=1e-4)


def test_what_does_not_fit() -> None:
    x = np.zeros((2, 6))
    with pytest.raises(NetError, match="must have the same shape, not 2×6 and 3×4"):
        layer_net("SmoothL1Loss", "", x, x.reshape(3, 4), phase=TEST, force=False)
    with pytest.raises(NetError, match="sigma is 0, expected above 0"):
        layer_net("SmoothL1Loss", "smooth_l1_loss_param { sigma: 0 }", x, x, phase=TEST, force=False)
