"""What test_world.py lets each of several ranks do, under mpiexec."""

import sys

import numpy as np

from caffelite.errors import ParallelError
from caffelite.parallel import ends
from caffelite.parallel.agreement import check_same
from caffelite.parallel.launcher import launched
from caffelite.parallel.world import MpiGroup, join


def numbers(rank: int) -> np.ndarray:
    return np.random.default_rng(rank).standard_normal(1001).astype(np.float32)


def check_sums(group: MpiGroup) -> None:
    exact = sum(numbers(rank).astype(np.float64) for rank in range(group.size))
    for dtype, digits in ((np.float32, 1e-5), (np.float64, 1e-12)):
        values = numbers(group.rank).astype(dtype)
        group.sum(values)
        np.testing.assert_allclose(values, exact, rtol=0, atol=digits)
        # All have the same bits.
        check_same(group, {"sum": values.tobytes().hex()})
    assert group.bytes_summed > 12 * 1001


def check_started_sums(world: object, reduce_in: str | None, digits: float) -> None:
    """Several sums on their way, waited for in an order that is not that of other ranks."""
    group = MpiGroup(world, reduce_in)
    exact = sum(numbers(rank).astype(np.float64) for rank in range(group.size))
    many = [numbers(group.rank) * factor for factor in (1, 2, 4)]
    before = group.bytes_summed
    started = [group.start_sum(values) for values in many]
    assert group.bytes_summed - before == 3 * 1001 * (4 if reduce_in is None else 2)
    for total in started[:: 1 if group.rank else -1]:
        total.wait()
        assert total.done()
    for values, factor in zip(many, (1, 2, 4), strict=True):
        np.testing.assert_allclose(values, factor * exact, rtol=0, atol=digits * factor)
        check_same(group, {"sum": values.tobytes().hex()})


def main() -> None:
    place = launched()
    assert place is not None
    group = join(place)
    from mpi4py import MPI

    check_sums(group)
    check_started_sums(MPI.COMM_WORLD, None, 1e-5)
    check_started_sums(MPI.COMM_WORLD, "float16", 0.01)
    check_started_sums(MPI.COMM_WORLD, "bfloat16", 0.1)
    order = np.zeros(group.size)
    group.in_turn(lambda: order.__setitem__(group.rank, 1))
    assert order[group.rank] == 1
    try:
        check_same(group, {"net": f"net of {group.rank}", "version": "1"})
        raise AssertionError("nothing was said of different nets")
    except ParallelError as error:
        assert "net: net of 0 on process 0, net of 1 on process 1" in str(error) and "version" not in str(error)
    ends.part()
    print("well", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
