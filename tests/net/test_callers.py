"""Who calls a net: threads, handlers of signals, the end of the program; none hangs, crashes or computes what is wrong."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from callers import PROGRAMS
from calling import BODY, INPUT, PROBABILITIES, run_program, trainer

import caffelite
from caffelite.errors import BusyError
from caffelite.net import Net
from caffelite.schema.text import net_from_text
from caffelite.words import TEST


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("program", PROGRAMS)
def test_callers(program: str, threads: int, tmp_path: Path) -> None:
    run_program("callers.py", program, threads, tmp_path)


@contextmanager
def held(run: Callable[[Callable[[], object]], object]) -> Iterator[None]:
    """Have another thread in the middle of ``run(wait)`` while the block runs."""
    inside, go_on = threading.Event(), threading.Event()
    thread = threading.Thread(target=run, args=(lambda *_: (inside.set(), go_on.wait(60)),))
    thread.start()
    assert inside.wait(60)
    try:
        yield
    finally:
        go_on.set()
        thread.join()


def refused(calls: list[Callable[[], object]], name: str) -> None:
    for call in calls:
        with pytest.raises(BusyError, match=f'^net "{name}": another thread is running it; each thread needs a net of'):
            call()


def test_a_second_thread_is_refused_by_the_engines_net() -> None:
    net = Net(net_from_text(f'name: "n" {INPUT} {BODY}', "n.prototxt"))
    calls = [net.forward, net.backward, net.zero_grad, net.reshape, net.close]
    net.forward()
    more = [lambda: net.forward_unit(0), lambda: net.profile(1), lambda: net.copy_from([]), lambda: net.load_state({})]

    def run(wait: Callable[[], object]) -> None:
        net.plan.forward.insert(0, wait)
        net.forward()
        del net.plan.forward[0]

    with held(run):
        refused([*calls, *more], "n")
    net.forward()


def test_a_second_thread_is_refused_by_pycaffes_net(tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(f'name: "n" {INPUT} {PROBABILITIES}')
    net, other = (caffelite.Net(str(tmp_path / "n.prototxt"), TEST) for _ in range(2))
    expected = net.forward(data=np.ones((10, 3, 20, 20)))["prob"].copy()

    def run(wait: Callable[[], object]) -> None:
        net.before_forward(lambda i: wait() if i == 2 else None)
        run.result = net.forward(data=np.ones((10, 3, 20, 20)))["prob"].copy()
        net._hooks.clear()

    with held(run):
        refused(
            [
                net.forward,
                lambda: net.forward(data=np.zeros((10, 3, 20, 20))),
                lambda: net.forward_all(data=np.zeros((20, 3, 20, 20))),
                lambda: net.set_input_arrays(np.zeros(1), np.zeros(1)),
                net.backward,
                net.reshape,
                net.clear_param_diffs,
                net.close,
                lambda: net.copy_from(tmp_path / "none"),
                lambda: net.share_with(other),
            ],
            "n",
        )
        other.share_with(net)  # what the message advises
        np.testing.assert_array_equal(other.forward(data=np.ones((10, 3, 20, 20)))["prob"], expected)
    np.testing.assert_array_equal(run.result, expected)


def test_a_second_thread_is_refused_by_a_solver(tmp_path: Path) -> None:
    solver = trainer(tmp_path)

    def run(wait: Callable[[], object]) -> None:
        # Between two passes of the net, too.
        solver.listener.on_gradients = wait
        solver.step(1)
        del solver.listener.on_gradients

    with held(run):
        refused(
            [
                lambda: solver.step(1),
                solver.solve,
                solver.apply_update,
                solver.test_all,
                solver.snapshot,
                solver.net.forward,
                solver.net.zero_grad,
                lambda: solver.restore("none"),
                lambda: solver.copy_from("none"),
            ],
            "records",
        )
    solver.step(1)
    assert solver.iteration == 2
    solver.close()


def test_the_same_thread_may_come_in_again(tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(f'name: "n" {INPUT} {PROBABILITIES}')
    net = caffelite.Net(str(tmp_path / "n.prototxt"), TEST)
    seen: list[float] = []

    def hook(layer: int) -> None:
        if layer == 3:
            net.clear_param_diffs()
            seen.append(float(net.forward(end="relu")["conv"].sum()))

    net.after_forward(hook)
    assert net.forward(data=np.ones((10, 3, 20, 20)))["prob"].shape == (10, 5)
    assert len(seen) == 1
