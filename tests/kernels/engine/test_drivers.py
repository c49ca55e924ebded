import numpy as np
import pytest

from caffelite.kernels.engine import drivers
from caffelite.kernels.engine.calls import call
from caffelite.kernels.engine.compiling import kernel


@kernel
def _who(begin, end, worker, counts, workers):
    for i in range(begin, end):
        counts[i] += 1
        workers[i] = worker


@pytest.mark.parametrize("tasks, workers", [(0, 1), (1, 1), (7, 1), (7, 2), (7, 3), (2, 7)])
def test_every_task_is_done_once(tasks: int, workers: int) -> None:
    counts, seen = np.zeros(7, np.int64), np.full(7, -1)
    address, context, *_ = call(_who, tasks, counts, seen).words()
    drivers.run_parallel(address, context, tasks, workers)
    assert counts.tolist() == [1] * tasks + [0] * (7 - tasks)
    assert (np.diff(seen[:tasks]) >= 0).all() and set(seen[:tasks]) <= set(range(workers))
    drivers.run_serial(address, context, tasks)
    assert seen.tolist() == [0] * tasks + [-1] * (7 - tasks)
    drivers.run_row(np.array([(address, context, tasks, workers), (address, context, tasks, 1)]))
    assert counts.tolist() == [4] * tasks + [0] * (7 - tasks)
