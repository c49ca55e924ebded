"""Programs whose processes are copied by fork, or start others, after nets have run in them."""

import multiprocessing
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

# From 3.12 on Python warns that a copy has no threads but the one that asked for it: that is what is tried here.
warnings.filterwarnings("ignore", ".*fork.*", DeprecationWarning)


def _in_child(work: Callable[[], bytes]) -> bytes:
    """Return what a function returns in a copy of this process."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            os.close(reading)
            with open(writing, "wb") as pipe:
                pipe.write(work())
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    with open(reading, "rb") as pipe:
        result = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return result


def _on_a_thread(work: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(work()))
    thread.start()
    thread.join()
    return results[0]


def _after_training(folder: Path, split: Callable[[Callable[[], bytes]], bytes]) -> None:
    """Train for a while, then further in a copy made by ``split`` and here: both as a run that was never copied."""
    from calling import train, trainer

    reference = trainer(folder)
    train(reference, 5)
    expected = train(reference, 15)
    solver = trainer(folder)
    train(solver, 5)
    assert split(lambda: train(solver, 15)) == expected
    assert train(solver, 15) == expected
    solver.close()


def from_the_main_thread(folder: Path) -> None:
    _after_training(folder, _in_child)


def from_another_thread(folder: Path) -> None:
    _after_training(folder, lambda work: _on_a_thread(lambda: _in_child(work)))


def grandchild(folder: Path) -> None:
    _after_training(folder, lambda work: _in_child(lambda: _in_child(work)))


def while_a_thread_is_in_the_net(folder: Path) -> None:
    """A copy uses a net that a thread, which it does not have, was running."""
    from calling import train, trainer

    solver = trainer(folder)
    inside, go_on = threading.Event(), threading.Event()
    solver.listener.on_gradients = lambda _: (inside.set(), go_on.wait())
    thread = threading.Thread(target=solver.step, args=(1,))
    thread.start()
    inside.wait()

    def work() -> bytes:
        del solver.listener.on_gradients
        solver.restore(state)
        return train(solver, 5)

    solver.param.snapshot_prefix = str(folder / "s")
    before = trainer(folder)
    before.param.snapshot_prefix = str(folder / "s")
    state = before.snapshot()
    expected = train(before, 5)
    assert _in_child(work) == expected
    go_on.set()
    thread.join()


def while_a_thread_compiles(folder: Path) -> None:
    """Copies compile although a thread that they do not have was compiling when they were made."""
    os.environ["CAFFELITE_CACHE"] = str(folder)
    from caffelite.kernels.engine.calls import call
    from caffelite.kernels.engine.compiling import specialised

    @specialised
    def adding(number: int) -> Any:
        def add(begin: int, end: int, worker: int, x: np.ndarray) -> None:
            for i in range(begin, end):
                x[i] += number

        return add

    def compiled(number: int) -> bytes:
        x = np.zeros(10)
        call(adding(number), 10, x)()
        return x.tobytes()

    stop = threading.Event()

    def compile_more() -> None:
        number = 1000
        while not stop.is_set():
            compiled(number)
            number += 1

    thread = threading.Thread(target=compile_more)
    thread.start()
    try:
        for number in range(8):
            time.sleep(0.013 * number)
            assert _in_child(lambda number=number: compiled(number)) == np.full(10, float(number)).tobytes()
    finally:
        stop.set()
        thread.join()


def processes(folder: Path, context: Any = None) -> None:
    """A pool of processes answers, after nets with and without a Data layer have run here."""
    from calling import answer, train, trainer

    solver = trainer(folder)
    train(solver, 3)
    expected = [answer(i) for i in range(4)]
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        np.testing.assert_array_equal(list(pool.map(answer, range(4))), expected)
    train(solver, 3)
    np.testing.assert_array_equal([answer(i) for i in range(4)], expected)


def processes_by_fork(folder: Path) -> None:
    processes(folder, multiprocessing.get_context("fork"))


def processes_by_spawn(folder: Path) -> None:
    processes(folder, multiprocessing.get_context("spawn"))


def processes_by_forkserver(folder: Path) -> None:
    processes(folder, multiprocessing.get_context("forkserver"))


def multiprocessing_by_fork(folder: Path) -> None:
    """A process of multiprocessing goes on with the net that it was copied with."""

    def split(work: Callable[[], bytes]) -> bytes:
        context = multiprocessing.get_context("fork")
        reading, writing = context.Pipe(duplex=False)
        process = context.Process(target=lambda: writing.send_bytes(work()))
        process.start()
        result = reading.recv_bytes()
        process.join()
        assert process.exitcode == 0
        return result

    _after_training(folder, split)


PROGRAMS = {
    program.__name__: program
    for program in (
        from_the_main_thread,
        from_another_thread,
        grandchild,
        while_a_thread_is_in_the_net,
        while_a_thread_compiles,
        multiprocessing_by_fork,
        processes,
        processes_by_fork,
        processes_by_spawn,
        processes_by_forkserver,
    )
}

if __name__ == "__main__":
    PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
