"""Several processes train together: the same run as one makes, to rounding; and the same on all of them, to the bit."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffelite.errors import DivergenceError
from caffelite.layers.contract.group import ALONE, Group
from caffelite.solvers.agreement import first_text
from caffelite.solvers.logs import Listener
from caffelite.solvers.reduction import buckets_of
from tests.groups import in_threads
from tests.small_runs import BATCH, NET, RULES, make


def trained(settings: str, iterations: int) -> Callable[[Group], tuple[np.ndarray, float]]:
    def work(group: Group) -> tuple[np.ndarray, float]:
        solver = make(group, settings)
        solver.step(iterations)
        return solver.net.data.copy(), solver.smoothed_loss

    return work


@pytest.mark.parametrize("rule", RULES)
def test_processes_learn_what_one_learns(rule: str) -> None:
    work = trained(f'type: "{rule}" average_loss: 4 {RULES[rule]}', 4)
    data, loss = work(ALONE)
    for size in (2, 3, 4):
        results = in_threads(size, work)
        for other, other_loss in results:
            np.testing.assert_allclose(other, data, rtol=1e-5, atol=1e-5)
            assert other_loss == pytest.approx(loss, rel=1e-5)
            np.testing.assert_array_equal(other, results[0][0])
            assert other_loss == results[0][1]
    np.testing.assert_array_equal(in_threads(4, work)[0][0], results[0][0])


def test_the_gradients_of_the_last_pass_only_are_added_up_whole() -> None:
    counted: list[int] = []

    def work(group: Group) -> None:
        solver = make(group, "iter_size: 3")
        start = group.start_sum

        def counting(values: np.ndarray) -> Any:
            counted.append(values.size)
            return start(values)

        vars(group)["start_sum"] = counting
        solver.step(1)
        assert group.size == 1 or solver.reduction.buckets[0].bytes == solver.net.diff.nbytes

    in_threads(1, work)
    assert not counted
    in_threads(2, work)
    assert sorted(counted)[:6] == [3] * 6 and len(counted) == 8


def test_buckets_end_where_backward_is_done_with_them() -> None:
    solver = make(ALONE)
    net = solver.net
    units = {unit.first.name: position for position, unit in enumerate(net.plan.units)}
    ends = np.cumsum([own.blob.data.size for own in net.learnable])
    small = [(bucket.begin, bucket.end, bucket.unit) for bucket in buckets_of(net, 1)]
    owners = ["conv", "conv", "ip1", "ip1", "ip3", "ip3"]
    assert small == sorted(
        zip([0, *ends.tolist()], ends.tolist(), [units[name] for name in owners], strict=False),
        key=lambda bucket: (-bucket[2], -bucket[0]),
    )
    assert [(bucket.begin, bucket.end, bucket.unit) for bucket in buckets_of(net)] == [
        (0, net.diff.size, units["conv"])
    ]


def test_many_buckets_give_the_bits_of_one() -> None:
    def work(group: Group, size: int) -> np.ndarray:
        solver = make(group)
        solver.reduction._size = size
        solver.step(2)
        assert all(bucket.waited >= 0 for bucket in solver.reduction.buckets)
        return solver.net.data.copy()

    np.testing.assert_array_equal(
        in_threads(2, lambda group: work(group, 1))[0], in_threads(2, lambda group: work(group, 1 << 20))[0]
    )


class Shown(Listener):
    def __init__(self) -> None:
        self.tests: list[Any] = []

    def on_test_batch(self, net: int, done: int, batches: int) -> None:
        self.tests.append((done, batches))

    def on_test(self, iteration: int, net: int, outputs: Any, loss: float | None) -> None:
        self.tests.append((net, [one.value for one in outputs], loss))


def test_a_test_has_the_same_bits_for_any_number_of_processes() -> None:
    def work(group: Group) -> tuple[list[Any], list[bytes]]:
        solver = make(group, 'test_iter: 5 test_iter: 3 test_interval: 1 test_state { stage: "a" } test_state { }')
        shown = solver.listener = Shown()
        solver.test_all()
        solver.test_all()
        return shown.tests, [array.tobytes() for net in solver.test_nets for array in net.state().values()]

    alone = work(ALONE)
    assert alone[0].count((3, 5)) == 2 and len(alone[0]) == 20
    for size in (2, 3, 4):
        assert in_threads(size, work) == [alone] * size


def test_a_test_net_that_carries_over_more_is_run_whole() -> None:
    net = NET.replace(
        'layer { name: "relu"',
        'layer { name: "bn" type: "BatchNorm" bottom: "h" top: "h" '
        'batch_norm_param { use_global_stats: false } } layer { name: "relu"',
    )

    def work(group: Group) -> Any:
        solver = make(group, "test_iter: 3 test_interval: 1", net)
        shown = solver.listener = Shown()
        solver.test_all()
        return shown.tests, solver.test_nets[0].context.group.size, solver.net.params["bn"][0].data.tolist()

    assert in_threads(2, work) == [work(ALONE)] * 2


@pytest.mark.parametrize("size", [2, 3])
def test_a_snapshot_is_the_first_process_s_and_goes_on_anywhere(size: int, tmp_path: Path) -> None:
    settings = f'{RULES["SGD"]} average_loss: 3 snapshot_prefix: "{tmp_path}/s" test_iter: 3 test_interval: 2'

    def begin(group: Group) -> np.ndarray:
        solver = make(group, settings)
        solver.step(3)
        assert solver.snapshot() == f"{tmp_path}/s_iter_3.solverstate"
        solver.step(3)
        return solver.net.data.copy()

    def go_on(group: Group) -> np.ndarray:
        solver = make(group, settings)
        solver.restore(f"{tmp_path}/s_iter_3.solverstate")
        solver.step(3)
        assert solver.iteration == 6
        return solver.net.data.copy()

    whole = in_threads(size, begin)[0]
    assert len([*tmp_path.iterdir()]) == 2
    np.testing.assert_array_equal(in_threads(size, go_on)[0], whole)
    np.testing.assert_allclose(go_on(ALONE), whole, rtol=1e-5, atol=1e-5)


def test_what_one_is_asked_for_all_do(tmp_path: Path) -> None:
    def work(group: Group) -> tuple[int, int | None, bool]:
        solver = make(group, f'max_iter: 9 snapshot_prefix: "{tmp_path}/s" snapshot_after_train: false')
        solver.listener = Listener()

        def asked(iteration: int) -> None:
            if group.rank == 1 and iteration == 2:
                solver.request_snapshot()
            if group.rank == 2 and iteration == 4:
                solver.request_stop()

        vars(solver.listener)["on_iteration"] = asked
        solver.solve()
        return solver.iteration, solver.snapshot_at, solver.stopped

    assert in_threads(3, work) == [(5, 3, True)] * 3
    assert {path.name for path in tmp_path.iterdir()} == {"s_iter_3.caffemodel", "s_iter_3.solverstate"}


def test_a_test_that_one_is_asked_to_stop_stops_on_all() -> None:
    def work(group: Group) -> tuple[int, bool, list[bytes]]:
        solver = make(group, "max_iter: 9 test_iter: 8 test_interval: 1 snapshot_after_train: false")
        solver.listener = Listener()

        def asked(net: int, done: int, batches: int) -> None:
            if group.rank and done == 3:
                solver.request_stop()

        vars(solver.listener)["on_test_batch"] = asked
        solver.solve()
        return solver.iteration, solver.stopped, [array.tolist() for array in solver.test_nets[0].state().values()]

    assert in_threads(2, work) == [(0, True, [[0]])] * 2


@pytest.mark.parametrize("where", ["record", "gradient"])
def test_what_is_not_finite_on_one_ends_all_with_one_error(where: str, tmp_path: Path) -> None:
    def work(group: Group) -> tuple[str, int]:
        solver = make(group, f'{RULES["SGD"]} snapshot_prefix: "{tmp_path}/s"')
        solver.step(2)
        before = solver.net.data.copy()
        forward = solver.net.forward

        def spoilt() -> float:
            loss = forward()
            if group.rank == 1 and where == "record":
                solver.net.blobs["x"].data[0] = np.nan
                return float("nan")
            return loss

        vars(solver.net)["forward"] = spoilt
        if group.rank == 1 and where == "gradient":
            solver.listener = Listener()
            solver.net.hooks = {"after_backward": [lambda _: solver.net.diff.fill(np.inf)]}
        with pytest.raises(DivergenceError) as error:
            solver.step(2)
        np.testing.assert_array_equal(solver.net.data, before)
        return str(error.value), solver.iteration

    one, *others = in_threads(3, work)
    assert others == [one] * 2
    assert one[0].startswith("iteration 2: " + ("the loss is nan" if where == "record" else "a gradient is not finite"))
    assert "s_iter_2.solverstate" in one[0] and one[1] == 2
    if where == "record":
        assert 'layer "data" (DummyData), blob "x"' in one[0]


def test_the_text_of_the_first_that_has_one() -> None:
    texts = ["", "zwölf Wörter", "another"]
    assert in_threads(3, lambda group: first_text(group, texts[group.rank])) == [texts[1]] * 3
    assert in_threads(2, lambda group: first_text(group, "")) == [""] * 2


def test_records_are_those_of_all_processes() -> None:
    def work(group: Group) -> tuple[int, int]:
        return make(group).records_per_iteration, make(group, dealing="turns").records_per_iteration

    assert in_threads(2, work) == [(BATCH, 2 * BATCH)] * 2


@pytest.mark.parametrize("statistics", ["batch", "process"])
def test_statistics_that_are_stored_are_equal_where_others_see_them(statistics: str, tmp_path: Path) -> None:
    normalized = 'layer { name: "bn" type: "BatchNorm" bottom: "c" top: "c" } layer { name: "ip1"'
    net = NET.replace('layer { name: "ip1"', normalized)
    settings = f'{RULES["SGD"]} test_iter: 3 test_interval: 9 snapshot_prefix: "{tmp_path}/s"'

    def work(group: Group) -> tuple[np.ndarray, Any, np.ndarray]:
        solver = make(group, settings, net, bn_statistics=statistics)
        shown = solver.listener = Shown()
        solver.step(2)
        path = solver.snapshot()
        stored = solver.net.params["bn"][0].data.copy()
        solver.test_all()
        solver.step(2)
        again = make(group, settings, net, bn_statistics=statistics)
        again.restore(path)
        again.step(2)
        np.testing.assert_array_equal(again.net.data, solver.net.data)
        return stored, shown.tests, solver.net.params["conv"][0].data.copy()

    alone = work(ALONE)
    (stored, tests, learned), *others = in_threads(2, work)
    for other in others:
        np.testing.assert_array_equal(other[0], stored)
        np.testing.assert_array_equal(other[2], learned)
        assert other[1] == tests
    close = np.allclose(learned, alone[2], rtol=1e-4, atol=1e-5)
    assert close == (statistics == "batch")


def test_what_is_displayed_is_of_the_whole_batch() -> None:
    # A loss that is a mean, one that is a sum, and values of each image.
    net = NET + (
        'layer { name: "sum" type: "SigmoidCrossEntropyLoss" bottom: "y" bottom: "t" top: "sum" loss_weight: 0.1 '
        'loss_param { normalization: NONE } } layer { name: "p" type: "Sigmoid" bottom: "y" top: "p" }'
    )

    class Displayed(Listener):
        def __init__(self) -> None:
            self.shown: list[Any] = []

        def on_display(self, iteration: int, loss: float, outputs: Any, rate: float, seconds: float) -> None:
            self.shown.append((loss, [one.value for one in outputs]))

    def work(group: Group) -> tuple[list[Any], np.ndarray]:
        solver = make(group, "display: 1", net)
        displayed = solver.listener = Displayed()
        solver.step(3)
        return displayed.shown, solver.net.data.copy()

    (alone, data), *_ = in_threads(1, work)
    for size in (2, 3):
        for shown, other in in_threads(size, work):
            np.testing.assert_allclose(other, data, rtol=1e-5, atol=1e-5)
            for (loss, values), (other_loss, other_values) in zip(alone, shown, strict=True):
                assert other_loss == pytest.approx(loss, rel=1e-5)
                assert len(values) == BATCH * 3 + 2
                np.testing.assert_allclose(other_values, values, rtol=1e-5)
