import numpy as np

from caffelite.kernels.engine.arrays import accumulate, copy, zeros


def test_arrays_begin_at_a_cache_line() -> None:
    for shape in (1, 17, (3, 5)):
        assert zeros(shape).ctypes.data % 64 == 0
    a, b = np.arange(10_000, dtype=np.float32), zeros(10_000)
    copy(a, b)()
    accumulate(a, b)()
    np.testing.assert_array_equal(b, 2 * a)
