"""What test_world.py lets each of several ranks do, under mpiexec."""

import sys
from typing import Any

import numpy as np

from caffelite.errors import ParallelError
from caffelite.parallel import ends
from caffelite.parallel.agreement import check_same, digest
from caffelite.parallel.launcher import launched
from caffelite.parallel.world import MpiGroup, join
from tests.small_runs import RULES, trained


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


def check_started_sums(world: Any, reduce_in: str | None, digits: float) -> None:
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


def train(group: MpiGroup) -> None:
    """Train by each solver, with both statistics of BatchNorm; the first process leaves the weights for the test."""
    weights = {}
    for rule in RULES:
        for statistics in ("batch", "process"):
            twice = [trained(group, rule, statistics) for _ in range(2 if rule == "SGD" else 1)]
            check_same(group, {"weights": digest(twice[:1])})
            np.testing.assert_array_equal(twice[-1], twice[0])
            weights[f"{rule} {statistics}"] = twice[0]
    if group.rank == 0:
        np.savez(f"{group.size}.npz", **weights)


def main() -> None:
    place = launched()
    assert place is not None
    whole = join(place)
    from mpi4py import MPI

    for size in range(whole.size, 1, -1):
        world = MPI.COMM_WORLD.Split(int(whole.rank < size))
        if whole.rank < size:
            check_group(world)
        # The others wait here, where they give way.
        whole.meet()
    ends.part()
    print("well", file=sys.stderr, flush=True)


def check_group(world: Any) -> None:
    group = MpiGroup(world)
    check_sums(group)
    for reduce_in, digits in ((None, 1e-5), ("float16", 0.02), ("bfloat16", 0.2)):
        check_started_sums(world, reduce_in, digits)
    order = np.zeros(group.size)
    group.in_turn(lambda: order.__setitem__(group.rank, 1))
    assert order[group.rank] == 1
    try:
        check_same(group, {"net": f"net of {min(group.rank, 1)}", "version": "1"})
        raise AssertionError("nothing was said of different nets")
    except ParallelError as error:
        assert "net: net of 0 on process 0, net of 1 on process" in str(error) and "version" not in str(error)
    train(group)


if __name__ == "__main__":
    main()
