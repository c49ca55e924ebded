"""What a training run tells: to whom it tells it, and lines in the format of Caffe's log."""

import datetime
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

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


def number(value: float) -> str:
    """Write a number as C++ streams do: six digits."""
    return f"{np.float32(value):g}" if np.isfinite(value) else str(value).replace("inf", "inf")


class Listener:
    """Is told of a run; every method may be overridden."""

    def on_start(self, name: str, policy: str) -> None:
        """The run begins."""

    def on_display(self, iteration: int, loss: float, outputs: Sequence[Output], rate: float, seconds: float) -> None:
        """An iteration that is displayed; ``seconds`` since the last one."""

    def on_step(self, iteration: int, loss: float) -> None:
        """An iteration is done; ``loss`` is smoothed."""

    def on_test_start(self, iteration: int, net: int) -> None:
        """A test begins."""

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        """A test is done; ``loss`` where ``test_compute_loss`` asks for it."""

    def on_snapshot(self, path: str, kind: str) -> None:
        """A file is about to be written."""

    def on_say(self, text: str) -> None:
        """A plain sentence."""

    def on_final(self, iteration: int, loss: float) -> None:
        """The loss after the last iteration."""

    def on_end(self, stopped: bool) -> None:
        """The run is over; ``stopped`` before its last iteration."""


class LogListener(Listener):
    """Writes lines as Caffe's log has them, so that what reads such logs reads these."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._displayed = -1

    def _line(self, source: str, text: str) -> None:
        now = datetime.datetime.now()
        head = f"I{now:%Y%m%d %H:%M:%S.%f} {os.getpid():5d} {source}] "
        print(head + text, file=self._stream or sys.stderr, flush=True)

    def on_start(self, name: str, policy: str) -> None:
        self._line("solver.cpp:289", f"Solving {name}")
        self._line("solver.cpp:290", f"Learning Rate Policy: {policy}")

    def on_display(self, iteration: int, loss: float, outputs: Sequence[Output], rate: float, seconds: float) -> None:
        done = iteration - self._displayed if self._displayed >= 0 else 1
        self._displayed = iteration
        speed = number(done / seconds) if seconds else "0"
        self._line("solver.cpp:239",
                   f"Iteration {iteration} ({speed} iter/s, {number(seconds)}s/{done} iters), loss = {number(loss)}")
        for output in outputs:
            self._line("solver.cpp:258", f"    Train net output {output}")
        self._line("sgd_solver.cpp:112", f"Iteration {iteration}, lr = {number(rate)}")

    def on_test_start(self, iteration: int, net: int) -> None:
        self._line("solver.cpp:347", f"Iteration {iteration}, Testing net (#{net})")

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        if loss is not None:
            self._line("solver.cpp:399", f"Test loss: {number(loss)}")
        for output in outputs:
            self._line("solver.cpp:414", f"    Test net output {output}")

    def on_snapshot(self, path: str, kind: str) -> None:
        source = "solver.cpp:464" if kind.startswith("Snapshotting to") else "sgd_solver.cpp:284"
        self._line(source, f"{kind} {path}")

    def on_say(self, text: str) -> None:
        self._line("caffe.cpp:218", text)

    def on_final(self, iteration: int, loss: float) -> None:
        self._line("solver.cpp:327", f"Iteration {iteration}, loss = {number(loss)}")

    def on_end(self, stopped: bool) -> None:
        self._line("solver.cpp:332", "Optimization stopped early." if stopped else "Optimization Done.")
