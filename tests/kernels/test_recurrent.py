"""A step of an LSTM against plain NumPy, and its gradient against differences of that."""

import naive
import numpy as np
import pytest

from caffelite.kernels import recurrent

STREAMS, SIZE = 3, 5


@pytest.mark.parametrize("limit", [0.0, 0.05])
def test_a_step_and_its_gradient(limit: float) -> None:
    rng = np.random.default_rng(2)
    sums, before = rng.standard_normal((STREAMS, 4, SIZE)), rng.standard_normal((STREAMS, SIZE))
    d_hidden, d_cell = rng.standard_normal((2, STREAMS, SIZE))
    cont = np.array([1.0, 0.0, 1.0])
    gates, cell, hidden = np.zeros_like(sums), np.zeros_like(before), np.zeros_like(before)
    recurrent.lstm_forward(sums, cont, before, gates, cell, hidden)()
    expected = naive.lstm_step(sums, cont, before)
    np.testing.assert_allclose(cell, expected[0], rtol=1e-6)
    np.testing.assert_allclose(hidden, expected[1], rtol=1e-6)

    d_sums, d_before = np.zeros_like(sums), np.zeros_like(before)
    recurrent.lstm_backward(gates, before, cell, d_hidden, d_cell, d_sums, d_before, limit)()

    def objective() -> float:
        cells, values = naive.lstm_step(sums, cont, before)
        return float((cells * d_cell + values * d_hidden).sum())

    for array, gradient, bound in ((sums, d_sums, limit), (before, d_before, 0.0)):
        slopes = np.zeros_like(array)
        for place in np.ndindex(array.shape):
            kept = array[place]
            ends = []
            for array[place] in (kept + 1e-5, kept - 1e-5):
                ends.append(objective())
            array[place] = kept
            slopes[place] = (ends[0] - ends[1]) / 2e-5
        np.testing.assert_allclose(gradient, np.clip(slopes, -bound, bound) if bound else slopes, atol=1e-6)
