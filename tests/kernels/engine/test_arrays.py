import numpy as np

from caffelite.kernels.engine.arrays import Pool, accumulate, copy, scratch, sharing, zeros


def test_arrays_begin_at_a_cache_line() -> None:
    for shape in (1, 17, (3, 5)):
        assert zeros(shape).ctypes.data % 64 == 0
    a, b = np.arange(10_000, dtype=np.float32), zeros(10_000)
    copy(a, b)()
    accumulate(a, b)()
    np.testing.assert_array_equal(b, 2 * a)


def test_calls_share_their_scratch_only_where_they_are_told_to() -> None:
    with sharing(Pool()):
        a, b = scratch((300,), (2, 5))
        c, _ = scratch((4,), (1,))
        large = scratch((100_000,))[0]
        again = scratch((100_000,), dtype=np.float64)[0]
    assert b.shape == (2, 5) and not np.shares_memory(a, b) and np.shares_memory(a, c)
    assert all(array.ctypes.data % 64 == 0 for array in (a, b, c, large, again))
    assert again.dtype == np.float64 and not np.shares_memory(a, large)
    assert not np.shares_memory(scratch((4,))[0], scratch((4,))[0])


def test_a_pool_grows_in_large_steps() -> None:
    pool = Pool()
    taken = [pool.take((size,))[0] for size in range(1000, 9000, 1000)]
    assert len({array.base.ctypes.data for array in taken}) <= 4
