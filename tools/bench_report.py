"""What ``caffelite train --report`` costs: training steps of an example net with and without it, in turns.

One solver steps on a batch that lies in memory, for some seconds with the page, the lines and the measurements at
their default interval, for as long without. What is compared is the mean of all steps: those that are measured are few,
and the page is written in a thread of its own.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

from bench_train import caffelite_solver
from turns import machine, spread, use_threads

#: Batch and standard deviation of its values, as ``bench_train.py`` has them.
NETS = {
    "cifar10_bn": ((100, 3, 32, 32), 60.0),
    "mnist_mlp_bn": ((60, 1, 28, 28), 0.3),
    "lenet": ((64, 1, 28, 28), 0.3),
}


def seconds_of_a_step(solver: Any, steps: int) -> float:
    start = time.perf_counter()
    solver.step(steps)
    return (time.perf_counter() - start) / steps


def with_report(solver: Any, steps: int, folder: Path) -> float:
    """Return the same for a run that is measured; writing the last page, after it, is left out."""
    from caffelite.report.live_page import LivePage
    from caffelite.report.measuring import Measuring
    from caffelite.report.metrics import MetricsFile, Run
    from caffelite.solvers.logs import Listener, Listeners

    run = Run("run")
    file = MetricsFile(folder / "run.jsonl", [])
    page = LivePage(folder / "run.html", run, [], print)

    def sink(line: Any) -> None:
        file.write(line)
        page.write(line)

    measuring = Measuring(solver, sink)
    measuring.on_start(solver.net.name, solver.param.lr_policy)
    solver.listener = Listeners(Listener(), measuring)
    try:
        return seconds_of_a_step(solver, steps)
    finally:
        solver.listener = Listener()
        measuring.end("")
        page.close()
        file.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("nets", nargs="*", default=["cifar10_bn"], help=f"{', '.join(NETS)} (cifar10_bn)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=11.0, help="of each a round")
    options = parser.parse_args()
    use_threads(options.threads)
    print(machine(options.threads))
    for name in options.nets:
        shape, deviation = NETS[name]
        solver = caffelite_solver(name, shape, deviation)
        seconds_of_a_step(solver, 20)
        steps = max(int(options.seconds / seconds_of_a_step(solver, 50)), 50)
        plain, measured = [], []
        with tempfile.TemporaryDirectory() as folder:
            for _ in range(options.rounds):
                plain.append(seconds_of_a_step(solver, steps))
                measured.append(with_report(solver, steps, Path(folder)))
        more = [100 * (ours / base - 1) for ours, base in zip(measured, plain, strict=True)]
        step, low, high = (1e3 * value for value in spread(plain))
        print(
            f"{name}: a step takes {step:.3f} ms ({low:.3f} to {high:.3f}); with --report {spread(more)[0]:+.2f}% "
            f"({min(more):+.2f} to {max(more):+.2f})"
        )
        solver.close()


if __name__ == "__main__":
    main()
