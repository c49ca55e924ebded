from typing import NamedTuple

import numpy as np
import pytest

from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel
from caffelite.kernels.engine.entry import version_of


@kernel
def _axpy(begin, end, worker, x, y, factor):
    for i in range(begin, end):
        y[i] += np.float32(factor) * x[i]


def test_only_contiguous_arrays() -> None:
    with pytest.raises(TypeError, match="contiguous"):
        call(_axpy, 2, np.zeros((4, 4), np.float32)[:, 0], np.zeros(4, np.float32), 1.0)


def test_in_place_is_a_version_of_its_own() -> None:
    x, y = np.arange(9.0, dtype=np.float32), np.zeros(9, np.float32)
    assert version_of((x, y, 1, 1, x)).same == (0, 1, 2, 3, 0)
    assert version_of((x, x[:4], np.zeros(0), np.zeros(0))).same == (0, 1, 2, 3)
    call(_axpy, 9, x, y, 2.0)()
    call(_axpy, 9, x, x, 2.0)()
    np.testing.assert_array_equal(y, 2 * np.arange(9))
    np.testing.assert_array_equal(x, 3 * np.arange(9))


class _Whole(NamedTuple):
    first: int
    step: int


class _Mixed(NamedTuple):
    first: int
    factor: float


def test_records_of_numbers() -> None:
    @kernel
    def fill(begin, end, worker, whole, y, mixed):
        for i in range(begin, end):
            y[i] = (whole.first + whole.step * i) * mixed.factor + mixed.first

    y = np.zeros(4)
    call(fill, 4, _Whole(first=1, step=2), y, _Mixed(first=10, factor=0.5))()
    assert y.tolist() == [10.5, 11.5, 12.5, 13.5]
