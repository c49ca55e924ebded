"""Log lines in Caffe's format, for programs that read them."""

import sys
import threading
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from caffelite.solvers.listener import Display, Listener
from caffelite.solvers.rules import Clipping
from caffelite.solvers.testing import Output, Scores

if TYPE_CHECKING:
    from caffelite.solvers.solver import Solver


class LogListener(Listener):
    """Write what Caffe writes, line for line, with the sources' names and line numbers of Caffe 1.0.

    Parameters
    ----------
    stream : text file, optional
        Where to; standard error, as Caffe.
    year : bool, optional
        Begin lines with the whole date, as glog 0.5 and later do (``I20261120``), or without the year (``I1120``),
        as before.
    """

    def __init__(self, stream: TextIO | None = None, year: bool = True) -> None:
        self.stream = sys.stderr if stream is None else stream
        self.date = "%Y%m%d" if year else "%m%d"

    def write(self, source: str, text: str, severity: str = "I") -> None:
        """Write one line: severity, time, thread, source, text."""
        now = datetime.now()
        time = now.strftime(f"{self.date} %H:%M:%S.%f")
        print(f"{severity}{time} {threading.get_native_id():5d} {source}] {text}", file=self.stream, flush=True)

    def _outputs(self, source: str, net: str, outputs: list[Output]) -> None:
        index = 0
        for output in outputs:
            for value in output.values:
                text = f"    {net} net output #{index}: {output.name} = {value:g}"
                if output.loss_weight:
                    text += f" (* {output.loss_weight:g} = {output.loss_weight * value:g} loss)"
                self.write(source, text)
                index += 1

    def on_log(self, source: str, text: str) -> None:
        self.write(source, text)

    def on_note(self, text: str) -> None:
        self.write("solver.cpp:45", text, "W")

    def on_start(self, solver: "Solver") -> None:
        self.write("solver.cpp:289", f"Solving {solver.net.name}")
        self.write("solver.cpp:290", f"Learning Rate Policy: {solver.param.lr_policy}")

    def on_policy_step(self, iteration: int, step: int) -> None:
        self.write("sgd_solver.cpp:50", f"MultiStep Status: Iteration {iteration}, step = {step}")

    def on_display(self, display: Display) -> None:
        speed = display.iterations / display.seconds if display.seconds else 0.0
        self.write("solver.cpp:239", f"Iteration {display.iteration} ({speed:g} iter/s, {display.seconds:g}s/"
                                     f"{display.interval} iters), loss = {display.loss:g}")  # fmt: skip
        self._outputs("solver.cpp:258", "Train", display.outputs)
        self.write("sgd_solver.cpp:112", f"Iteration {display.iteration}, lr = {display.rate:g}")

    def on_clip(self, clipping: Clipping) -> None:
        self.write("sgd_solver.cpp:99", f"Gradient clipping: scaling down gradients (L2 norm {clipping.norm:g} > "
                                        f"{clipping.limit:g}) by scale factor {clipping.scale:g}")  # fmt: skip

    def on_test_start(self, iteration: int, index: int) -> None:
        self.write("solver.cpp:347", f"Iteration {iteration}, Testing net (#{index})")

    def on_test(self, iteration: int, index: int, scores: Scores | None) -> None:
        if scores is None:
            self.write("solver.cpp:396", "Test interrupted.")
        else:
            self._outputs("solver.cpp:414", "Test", scores.outputs)

    def on_snapshot(self, model: Path, state: Path) -> None:
        if str(model).endswith(".h5"):
            self.write("solver.cpp:474", f"Snapshotting to HDF5 file {model}")
            self.write("sgd_solver.cpp:296", f"Snapshotting solver state to HDF5 file {state}")
        else:
            self.write("solver.cpp:464", f"Snapshotting to binary proto file {model}")
            self.write("sgd_solver.cpp:284", f"Snapshotting solver state to binary proto file {state}")

    def on_last_loss(self, iteration: int, loss: float) -> None:
        self.write("solver.cpp:327", f"Iteration {iteration}, loss = {loss:g}")

    def on_finish(self, solver: "Solver", stopped: bool) -> None:
        self.write(*("solver.cpp:311", "Optimization stopped early.") if stopped
                   else ("solver.cpp:332", "Optimization Done."))  # fmt: skip
