"""What a training run tells: to whom it tells it, and lines in the format of Caffe's log."""

import datetime
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TextIO

import numpy as np


@dataclass(frozen=True, slots=True)
class Output:
    """A value of an output blob.

    Attributes
    ----------
    index : int
        Number among all output values.
    name : str
    value : float
    weight : float
        What it counts in the loss.
    """

    index: int
    name: str
    value: float
    weight: float

    def __str__(self) -> str:
        loss = f" (* {number(self.weight)} = {number(self.weight * self.value)} loss)" if self.weight else ""
        return f"#{self.index}: {self.name} = {number(self.value)}{loss}"


class DebugLine(NamedTuple):
    """A line that ``debug_info`` asks for.

    Attributes
    ----------
    source : str
        Its ``file:line`` in Caffe.
    text : str
    severity : str
        As glog has it.
    """

    source: str
    text: str
    severity: str = "I"


def number(value: float) -> str:
    """Write a number as C++ streams do: six digits."""
    return f"{np.float32(value):g}"


class Listener:
    """Is told of a run; every method may be overridden. They are called in the thread that trains.

    It has a method for each thing that happens, more than a class here should have.
    """

    def on_log(self, source: str, text: str) -> None:
        """A line of Caffe's log that tells where the program is; ``source`` is its ``file:line``."""

    def on_start(self, name: str, policy: str) -> None:
        """The run begins."""

    def on_iteration(self, iteration: int) -> None:
        """An iteration begins: gradients are zero."""

    def on_gradients(self, iteration: int) -> None:
        """Gradients are there, the update has not been made."""

    def on_display(self, iteration: int, loss: float, outputs: Sequence[Output], rate: float, seconds: float) -> None:
        """An iteration that is displayed; ``seconds`` since the last one."""

    def on_policy_step(self, iteration: int, step: int) -> None:
        """The multistep policy comes to its next step."""

    def on_clip(self, norm: float, limit: float, scale: float) -> None:
        """Gradients of this common norm are multiplied by ``scale`` to come down to ``clip_gradients``."""

    def on_step(self, iteration: int, loss: float) -> None:
        """An iteration is done; ``loss`` is smoothed."""

    def on_test_start(self, iteration: int, net: int) -> None:
        """A test begins."""

    def on_test_batch(self, net: int, done: int, batches: int) -> None:
        """A test has done a batch."""

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        """A test is done; ``loss`` where ``test_compute_loss`` asks for it."""

    def on_test_interrupted(self, iteration: int, net: int) -> None:
        """A request to stop ended a test."""

    def on_snapshot(self, path: str, kind: str) -> None:
        """A file is about to be written."""

    def on_say(self, text: str) -> None:
        """A plain sentence."""

    def on_debug(self, lines: Sequence[DebugLine]) -> None:
        """What ``debug_info`` asks for: the sizes of blobs or of gradients."""

    def on_final(self, iteration: int, loss: float) -> None:
        """The loss after the last iteration."""

    def on_end(self, stopped: bool) -> None:
        """The run is over; ``stopped`` before its last iteration."""


class Listeners:
    """Several listeners as one: each event goes to all that have a method for it, in their order.

    Parameters
    ----------
    *listeners : Listener
        Or anything that has some of its methods.
    """

    def __init__(self, *listeners: Any) -> None:
        self._listeners = listeners

    def __getattr__(self, event: str) -> Callable[..., None]:
        methods = [method for one in self._listeners if (method := getattr(one, event, None)) is not None]
        if not methods:
            raise AttributeError(event)

        def tell(*facts: Any) -> None:
            for method in methods:
                method(*facts)

        return tell


class LogListener(Listener):
    """Writes lines as Caffe's log has them, so that what reads such logs reads these.

    Sources and line numbers are those of Caffe 1.0.

    Parameters
    ----------
    stream : text file, optional
        Standard error by default, as Caffe.
    year : bool, optional
        The date with its year, as glog 0.5 and later write it (``I20261120``), or without (``I1120``), which
        is all that Caffe's own ``parse_log.py`` and ``extract_seconds.py`` can read.
    """

    def __init__(self, stream: TextIO | None = None, year: bool = True) -> None:
        self._stream = stream
        self._date = "%Y%m%d" if year else "%m%d"
        self._displayed = -1

    def _line(self, source: str, text: str, severity: str = "I") -> None:
        now = datetime.datetime.now().strftime(f"{self._date} %H:%M:%S.%f")
        head = f"{severity}{now} {threading.get_native_id():5d} {source}] "
        print(head + text, file=self._stream or sys.stderr, flush=True)

    def on_log(self, source: str, text: str) -> None:
        self._line(source, text)

    def on_say(self, text: str) -> None:
        self._line("caffe.cpp:218", text, "W")

    def on_debug(self, lines: Sequence[DebugLine]) -> None:
        for line in lines:
            self._line(*line)

    def on_start(self, name: str, policy: str) -> None:
        self._line("solver.cpp:289", f"Solving {name}")
        self._line("solver.cpp:290", f"Learning Rate Policy: {policy}")

    def on_display(self, iteration: int, loss: float, outputs: Sequence[Output], rate: float, seconds: float) -> None:
        done = iteration - self._displayed if 0 <= self._displayed < iteration else 1
        self._displayed = iteration
        speed = number(done / seconds) if seconds else "0"
        speed = f"{speed} iter/s, {number(seconds)}s/{done} iters"
        self._line("solver.cpp:239", f"Iteration {iteration} ({speed}), loss = {number(loss)}")
        for output in outputs:
            self._line("solver.cpp:258", f"    Train net output {output}")
        self._line("sgd_solver.cpp:112", f"Iteration {iteration}, lr = {number(rate)}")

    def on_policy_step(self, iteration: int, step: int) -> None:
        self._line("sgd_solver.cpp:50", f"MultiStep Status: Iteration {iteration}, step = {step}")

    def on_clip(self, norm: float, limit: float, scale: float) -> None:
        norms = f"L2 norm {number(norm)} > {number(limit)}"
        text = f"Gradient clipping: scaling down gradients ({norms}) by scale factor {number(scale)}"
        self._line("sgd_solver.cpp:99", text)

    def on_test_start(self, iteration: int, net: int) -> None:
        self._line("solver.cpp:347", f"Iteration {iteration}, Testing net (#{net})")

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        if loss is not None:
            self._line("solver.cpp:401", f"Test loss: {number(loss)}")
        for output in outputs:
            self._line("solver.cpp:414", f"    Test net output {output}")

    def on_test_interrupted(self, iteration: int, net: int) -> None:
        self._line("solver.cpp:396", "Test interrupted.")

    def on_snapshot(self, path: str, kind: str) -> None:
        self._line("solver.cpp:464" if kind.startswith("Snapshotting to") else "sgd_solver.cpp:284", f"{kind} {path}")

    def on_final(self, iteration: int, loss: float) -> None:
        self._line("solver.cpp:327", f"Iteration {iteration}, loss = {number(loss)}")

    def on_end(self, stopped: bool) -> None:
        self._line(
            *(
                ("solver.cpp:311", "Optimization stopped early.")
                if stopped
                else ("solver.cpp:332", "Optimization Done.")
            )
        )
