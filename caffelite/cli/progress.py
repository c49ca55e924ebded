"""A run as one watches it: a live line on a terminal, log lines elsewhere."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any, TextIO

from tqdm import tqdm

from caffelite.cli.report import accuracies, summary
from caffelite.cli.terminal import brief, on_terminal, say
from caffelite.net.machine import code_is_kept, listening, thread_count
from caffelite.solvers.logs import DebugLine, Listener, LogListener, Output, number
from caffelite.solvers.solver import Solver

#: Between two looks of the live line, in seconds.
_PAUSE = 0.2
_BAR = "iteration {n_fmt}/{total_fmt} |{bar:20}| {remaining} left{postfix}"


@contextmanager
def compiling(show: Callable[[str], None] | None = None) -> Iterator[None]:
    """Tell that kernels are compiled, which takes a moment, while the block runs.

    Parameters
    ----------
    show : callable, optional
        Takes what is going on, on a terminal; by default it is written over the line there.
    """
    count = 0

    def told(kernel: str) -> None:
        nonlocal count
        count += 1
        text = "compiling kernels" + (", which are kept for the next time" if code_is_kept() else "")
        if on_terminal():
            (show or brief)(f"{text}: {count}")
        elif count == 1:
            say(text)

    with listening(told):
        yield


class Recorder(Listener):
    """Remembers what the last line of a run tells.

    Attributes
    ----------
    solver : Solver
        Set when there is one.
    tests : dict of int to (int, list of Output)
        By test net: the iteration of its last test, and what came out.
    loss : float or None
        The smoothed loss of the last iteration; None before the first.
    model, state : str
        The files of the last snapshot; empty before the first.
    snapshot_at : int
        Its iteration; -1 before the first.
    """

    solver: Solver

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.tests: dict[int, tuple[int, list[Output]]] = {}
        self.loss: float | None = None
        self.model = self.state = ""
        self.snapshot_at = -1

    def watch(self, solver: Solver) -> None:
        """Tell which solver is listened to."""
        self.solver = solver

    def losses(self) -> list[float]:
        """Return the last losses: that of training and those of the tests."""
        tested = [output.value for _, outputs in self.tests.values() for output in outputs if output.weight]
        return tested if self.loss is None else [self.loss, *tested]

    def on_step(self, iteration: int, loss: float) -> None:
        self.loss = loss
        super().on_step(iteration, loss)

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        self.tests[net] = iteration, list(outputs)
        super().on_test(iteration, net, outputs, loss)

    def on_snapshot(self, path: str, kind: str) -> None:
        self.snapshot_at = self.solver.iteration
        if path.removesuffix(".h5").endswith(".caffemodel"):
            self.model = path
        else:
            self.state = path
        super().on_snapshot(path, kind)

    def doing(self, text: str) -> None:
        """Show what is going on, where there is a line for it."""

    def close(self) -> None:
        """End what is shown."""


class RecordedLog(Recorder, LogListener):
    """Log lines in Caffe's format, dated as Caffe's own tools read them."""

    def __init__(self) -> None:
        super().__init__(year=False)


class LiveLine(Recorder):
    """One line that is written over: iteration, time left, loss, accuracy of the last test, images a second.

    Tests and snapshots get a line of their own.

    Parameters
    ----------
    iterations : int
        At which the run ends.
    """

    def __init__(self, iterations: int) -> None:
        super().__init__()
        self._bar = tqdm(total=iterations, bar_format=_BAR, file=sys.stderr, mininterval=_PAUSE, dynamic_ncols=True)
        self._shares: set[str] = set()
        self._tested = self._speed = ""
        self._looked = 0.0
        self._since = (0, 0.0)
        self._bar.set_postfix_str("building the net")

    def watch(self, solver: Solver) -> None:
        super().watch(solver)
        self._shares = accuracies([solver.net, *solver.test_nets])

    def on_start(self, name: str, policy: str) -> None:
        # Time left is reckoned from the iterations of this run alone.
        self._bar.initial = self._bar.n = self.solver.iteration
        self._bar.unpause()
        self._since = (self.solver.iteration, perf_counter())

    def on_step(self, iteration: int, loss: float) -> None:
        super().on_step(iteration, loss)
        self._bar.update(iteration - self._bar.n)
        now = perf_counter()
        if now - self._looked > _PAUSE:
            self._looked = now
            begun, time = self._since
            if now - time > 1 and self.solver.records_per_iteration:
                rate = self.solver.records_per_iteration * (iteration - begun) / (now - time)
                self._speed = f"{rate:,.0f} images/s"
                self._since = (iteration, now)
            self._show(f"loss {loss:.4g}")

    def on_test_batch(self, net: int, done: int, batches: int) -> None:
        now = perf_counter()
        if now - self._looked > _PAUSE:
            self._looked = now
            self.doing(f"testing {done}/{batches}")

    def doing(self, text: str) -> None:
        self._show(text)
        self._bar.refresh()

    def _show(self, doing: str) -> None:
        parts = [doing, self._tested and f"test {self._tested}", self._speed]
        self._bar.set_postfix_str(", ".join(part for part in parts if part), refresh=False)

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        super().on_test(iteration, net, outputs, loss)
        first = [output for output in outputs if output.name in self._shares][:1]
        self._tested = summary(first, self._shares)
        which = f" net {net}" if len(self.solver.test_nets) > 1 else ""
        self.on_say(f"iteration {iteration}: test{which}: {summary(outputs, self._shares)}")
        # The time a test takes is no time of training.
        self._since = (iteration, perf_counter())

    def on_snapshot(self, path: str, kind: str) -> None:
        super().on_snapshot(path, kind)
        if path == self.state:
            self.on_say(f"iteration {self.snapshot_at}: snapshot {path}")

    def on_debug(self, lines: Sequence[DebugLine]) -> None:
        for line in lines:
            self.on_say(line.text.strip())

    def on_say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.leave = False
        self._bar.close()


class TestLog(LogListener):
    """Lines of ``caffe test``."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__(stream, year=False)

    def on_begin(self, iterations: int) -> None:
        """The test begins."""
        self._line("caffe.cpp:275", f"Use {thread_count()}.")
        self._line("caffe.cpp:281", f"Running for {iterations} iterations.")

    def on_batch(self, index: int, outputs: Sequence[Output]) -> None:
        """A batch is done."""
        for output in outputs:
            self._line("caffe.cpp:304", f"Batch {index}, {output.name} = {number(output.value)}")

    def on_means(self, loss: float, outputs: Sequence[Output]) -> None:
        """All batches are done."""
        self._line("caffe.cpp:309", f"Loss: {number(loss)}")
        for output in outputs:
            self._line("caffe.cpp:321", str(output).partition(": ")[2])
