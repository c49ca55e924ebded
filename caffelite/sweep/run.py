"""One run of a sweep, and what is kept of it."""

import math
import traceback
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from time import perf_counter
from typing import Any, TextIO

from caffelite.errors import DivergenceError, Error, SolverError
from caffelite.net.machine import thread_count
from caffelite.solvers.logs import LogListener, Output
from caffelite.solvers.settings import Settings
from caffelite.solvers.solver import Solver
from caffelite.sweep.grid import Run

#: What became of a run.
DONE, DIVERGED, FAILED = "done", "diverged", "failed"
#: A run as a line of JSON.
Record = dict[str, Any]


class _Course(LogListener):
    """Writes Caffe's log, and remembers the last loss and the last test of each net."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream, year=False)
        self.iteration, self.loss = 0, math.nan
        self.tests: dict[int, tuple[int, Sequence[Output]]] = {}

    def on_step(self, iteration: int, loss: float) -> None:
        self.iteration, self.loss = iteration, loss

    def on_test(self, iteration: int, net: int, outputs: Sequence[Output], loss: float | None) -> None:
        self.tests[net] = iteration, outputs
        super().on_test(iteration, net, outputs, loss)

    def not_finite(self) -> str:
        """Say which loss is NaN or infinite; return an empty text where none is."""
        losses = [("the loss", self.loss)]
        losses += [
            (f"the test's {one.name}", one.value) for _, test in self.tests.values() for one in test if one.weight
        ]
        return next((f"{name} is {value:g}" for name, value in losses if not math.isfinite(value)), "")


class _WithoutSnapshots(Solver):
    """A solver that is not asked for snapshots keeps none where it diverges either: a sweep may have many that do."""

    def snapshot(self) -> str:
        raise SolverError("a sweep keeps snapshots where its solver has snapshot: N")


def perform(run: Run) -> Record:
    """Make a run; an error is part of what is returned.

    Returns
    -------
    dict
        ``settings``, ``seed``, ``digest``, ``folder`` (its name); ``state``: ``"done"``, ``"diverged"`` or
        ``"failed"``, and ``message``, why; ``iterations``; ``loss``, the smoothed one at the end; ``tests``: for each
        test net its outputs by name; ``shares`` and ``losses``: which of these are shares of right answers, and which
        losses; ``seconds``; ``threads``.
    """
    begun = perf_counter()
    record = blank(run)
    try:
        run.folder.mkdir(parents=True, exist_ok=True)
        with (run.folder / "train.log").open("w", encoding="utf-8") as log, redirect_stdout(log), redirect_stderr(log):
            course = _Course(log)
            try:
                _train(run, course, record)
            except DivergenceError as error:
                record.update(state=DIVERGED, message=error.message)
            except (Error, OSError, MemoryError):
                raise
            except Exception as error:  # of code that a net names, or a fault of ours: the other runs go on
                traceback.print_exc(file=log)
                record.update(state=FAILED, message=f"{type(error).__name__}: {error}; {log.name} tells where")
            record.update(iterations=course.iteration, loss=_finite(course.loss))
    except (Error, OSError) as error:
        record.update(state=FAILED, message=" ".join(str(error).split()))
    except MemoryError:
        record.update(
            state=FAILED, message="there is not enough memory; fewer --jobs or a smaller batch_size need less"
        )
    return {**record, "seconds": round(perf_counter() - begun, 3), "threads": thread_count().number}


def blank(run: Run) -> Record:
    """Return the record of a run that has computed nothing."""
    return {
        "settings": run.settings,
        "seed": run.seed,
        "digest": run.digest,
        "folder": run.folder.name,
        "state": DONE,
        "message": "",
        "iterations": 0,
        "loss": None,
        "tests": [],
        "shares": [],
        "losses": [],
        "seconds": 0.0,
    }


def _train(run: Run, course: _Course, record: Record) -> None:
    settings = Settings(run.document, run.files)
    param = settings.param
    param.snapshot_after_train = bool(param.snapshot and param.snapshot_after_train)
    kind = Solver if param.snapshot else _WithoutSnapshots
    solver = kind(settings, course, allow_python=run.allow_python, output_root=run.folder)
    try:
        solver.solve()
        if any(course.tests.get(i, (-1,))[0] != solver.iteration for i in range(len(solver.test_nets))):
            solver.test_all()
        nodes = [node for net in solver.test_nets for node in net.graph.nodes]
        outputs = [course.tests[i][1] for i in range(len(solver.test_nets))]
        record.update(
            tests=[_by_name(test) for test in outputs],
            shares=sorted({node.tops[0].name for node in nodes if node.layer.facts.share}),
            losses=sorted({one.name for test in outputs for one in test if one.weight}),
        )
        if message := course.not_finite():
            record.update(state=DIVERGED, message=message)
    finally:
        solver.close()


def _by_name(outputs: Sequence[Output]) -> dict[str, float | None | list[float | None]]:
    values: dict[str, list[float | None]] = {}
    for output in outputs:
        values.setdefault(output.name, []).append(_finite(output.value))
    return {name: several[0] if len(several) == 1 else several for name, several in values.items()}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
