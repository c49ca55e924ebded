"""Training steps of the example nets, caffelite beside PyTorch (``pip install .[bench]``).

Both do forward, backward and update on a batch that lies in memory, on the same number of threads, in turns; what is
reported is the median step of each and their ratio, with the spread of the ratio over the rounds, and the most memory
that a process of its own takes for ten steps.
"""

import argparse
import dataclasses
import json
import multiprocessing
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from turns import in_turns, machine, peak_memory, timed, use_threads

MODELS = Path(__file__).resolve().parent.parent / "models"


def caffelite_solver(name: str, shape: tuple[int, ...], deviation: float) -> Any:
    """Return a solver of an example net on one batch that lies in memory."""
    from caffelite.schema.text import net_from_message, read_net, read_solver
    from caffelite.solvers.logs import Listener
    from caffelite.solvers.solver import Solver

    net = read_net(MODELS / f"{name}.prototxt").message
    for layer in net.layer:
        if layer.type == "Data":
            layer.type = "Input"
            for size in (shape, shape[:1]):
                layer.input_param.shape.add(dim=size)
    document = read_solver(MODELS / f"{name}_solver.prototxt")
    solver = document.message
    solver.ClearField("net")
    solver.net_param.CopyFrom(net_from_message(net).message)
    for field in ("test_iter", "test_interval", "display", "snapshot"):
        solver.ClearField(field)
    made = Solver(document, Listener())
    rng = np.random.default_rng(1)
    made.net.blobs["data"].data[...] = rng.standard_normal(shape) * deviation
    made.net.blobs["label"].data[...] = rng.integers(0, 10, shape[0])
    return made


def caffelite_step(name: str, shape: tuple[int, ...], deviation: float) -> Callable[[], None]:
    solver = caffelite_solver(name, shape, deviation)
    return lambda: solver.step(1)


class Command:
    """``caffelite train`` of an example net, records, log, tests and snapshots as its files have them."""

    #: Iterations of the shorter of two runs, and how many the other has more at least.
    _FIRST, _MORE = 1000, 4000

    def __init__(self, name: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        Path(self._folder.name, "models").symlink_to(MODELS)
        self._solver = f"models/{name}_solver.prototxt"
        self._seconds(1)  # makes the data, compiles

    def _seconds(self, iterations: int) -> float:
        command = [sys.executable, "-m", "caffelite", "train", self._solver, "--iterations", str(iterations)]
        start = time.perf_counter()
        done = subprocess.run(command, cwd=self._folder.name, capture_output=True, text=True)
        if done.returncode:
            sys.exit(done.stderr)
        return time.perf_counter() - start

    def run(self, steps: int) -> list[float]:
        """Return how long an iteration takes: what a run of more iterations takes more."""
        more = max(steps, self._MORE)
        return [(self._seconds(self._FIRST + more) - self._seconds(self._FIRST)) / more]


def peak(program: str, name: str, shape: tuple[int, ...], deviation: float, threads: int) -> float:
    """Return the most memory that this process takes for some steps, MiB."""
    if program == "caffelite":
        step = caffelite_step(name, shape, deviation)
    else:
        from torch_models import Trainer

        step = Trainer(name, threads).step
    timed(step, 10)
    return peak_memory()


def peak_in_process(*arguments: Any) -> float:
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(peak, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", help="names of nets (all)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each program a round")
    parser.add_argument("--command", action="store_true", help="the whole of caffelite train too, on real records")
    parser.add_argument("--compile", action="store_true", help="PyTorch with torch.compile too (needs a C++ compiler)")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    use_threads(options.threads)
    from torch_models import MODELS as PEERS
    from torch_models import Trainer, torch

    rows = []
    for name in options.nets or PEERS:
        _, shape, deviation = PEERS[name]
        steps = {"caffelite": caffelite_step(name, shape, deviation), "PyTorch": Trainer(name, options.threads).step}
        if options.compile:
            steps["compiled"] = Trainer(name, options.threads, compiled=True).step
        programs = {who: partial(timed, step) for who, step in steps.items()}
        if options.command:
            programs["train"] = Command(name).run
        for who, result in in_turns(programs, options.rounds, options.seconds).items():
            row = {"net": name, "batch": shape[0], "program": who, **dataclasses.asdict(result)}
            text = f"{name:14s} batch {shape[0]:3d}   {who:10s} {result}"
            if who in ("caffelite", "PyTorch"):
                row["peak_mb"] = peak_in_process(who, name, shape, deviation, options.threads)
                text += f"   {row['peak_mb']:6.0f} MiB"
            rows.append(row)
            if not options.json:
                print(text, flush=True)
    facts = {**machine(options.threads), "torch": torch.__version__}
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
