import numpy as np

from caffelite.kernels.engine.calls import Row, call, in_rows
from caffelite.kernels.engine.compiling import kernel


@kernel
def _axpy(begin, end, worker, x, y, factor, workers_seen):
    for i in range(begin, end):
        y[i] += np.float32(factor) * x[i]
        workers_seen[i] = worker


def test_arguments_of_all_kinds_and_tasks_shared_out() -> None:
    x, y = np.arange(1000, dtype=np.float32), np.ones(1000, np.float32)
    seen = np.full(1000, -1, np.int64)
    bound = call(_axpy, 1000, x, y, 0.5, seen)
    bound()
    x += 1  # what is written between calls is seen
    bound()
    np.testing.assert_allclose(y, 1 + np.arange(1000) + 0.5)
    assert set(seen) <= set(range(bound.workers))


def test_little_work_runs_on_one_thread() -> None:
    x = np.zeros(4, np.float32)
    assert call(_axpy, 4, x, x, 1.0, np.zeros(4, np.int64), work=4).workers == 1


def test_calls_in_a_row_run_in_order_as_one_step() -> None:
    x, y, seen = np.ones(9, np.float32), np.zeros(9, np.float32), np.zeros(9, np.int64)
    said = []
    add = call(_axpy, 9, x, y, 1.0, seen, work=9)
    steps = in_rows([add, call(_axpy, 9, y, x, 1.0, seen), add, lambda: said.append(y.tolist()), add])
    assert [type(step) for step in steps] == [Row, type(lambda: None), Row]
    for step in steps:
        step()
    assert said == [[3] * 9] and x.tolist() == [2] * 9 and y.tolist() == [5] * 9
