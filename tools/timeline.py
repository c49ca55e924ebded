"""Draw what each thread does, and when, in a few passes or training steps of a net: where threads wait, and for what.

Each kernel has a color; what is white is a thread that has nothing to do, or Python. Needs matplotlib.
"""

import argparse
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from turns import use_threads


def _calls(steps: Any) -> list[Any]:
    """Return the bound kernels among the steps of a plan."""
    return [call for step in steps for call in getattr(step, "calls", [step]) if hasattr(call, "words")]


def traced(net: Any, step: Callable[[], Any], passes: int) -> tuple[list[tuple[int, str, float, float]], float]:
    """Return what was done, as thread, kernel, begin and end in milliseconds, and how long all passes took."""
    from caffelite.kernels.engine.team import TEAM

    plan = net.plan
    names = {call.words()[1]: call.kernel.name.split(":")[0] for call in _calls([*plan.forward, *plan.backward])}
    for _ in range(20):
        step()
    with TEAM.traced() as notes:
        start = time.monotonic_ns()
        for _ in range(passes):
            step()
        end = time.monotonic_ns()
    rows = [(who, names.get(what, "solver"), (a - start) / 1e6, (b - start) / 1e6) for who, what, a, b in notes]
    return rows, (end - start) / 1e6


def draw(rows: list[tuple[int, str, float, float]], total: float, title: str, path: str) -> None:
    """Draw a line a thread."""
    import matplotlib.pyplot as plt

    kernels = list(dict.fromkeys(name for _, name, _, _ in rows))
    colors = plt.get_cmap("tab20")(np.linspace(0, 1, max(len(kernels), 2)))
    threads = 1 + max(who for who, *_ in rows)
    figure, axes = plt.subplots(figsize=(16, 1.5 + threads), layout="constrained")
    for kernel, color in zip(kernels, colors, strict=False):
        for who in range(threads):
            bars = [(a, b - a) for w, name, a, b in rows if w == who and name == kernel]
            label = kernel.removeprefix("caffelite.") if who == 0 else None
            axes.broken_barh(bars, (who - 0.4, 0.8), color=color, label=label, edgecolor="white", linewidth=0.3)
    axes.set(xlim=(0, total), yticks=range(threads), ylabel="thread", xlabel="milliseconds", title=title)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.35), ncols=4, fontsize=7)
    figure.savefig(path, dpi=120)


def main() -> None:
    """Trace, print how much of its time each thread has worked, draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="an example net of bench_train.py, such as mnist_mlp")
    parser.add_argument("output", help="the picture: .png, .svg or .pdf")
    parser.add_argument("--steps", type=int, default=3, help="training steps to draw (3)")
    arguments = parser.parse_args()
    use_threads(len(os.sched_getaffinity(0)))
    from bench_checkouts import TRAINED
    from bench_train import caffelite_solver

    solver = caffelite_solver(arguments.name, *TRAINED[arguments.name])
    rows, total = traced(solver.net, lambda: solver.step(1), arguments.steps)
    for who in range(1 + max(row[0] for row in rows)):
        busy = sum(b - a for w, _, a, b in rows if w == who)
        print(f"thread {who}: works {100 * busy / total:.0f}% of {total:.3f} ms")
    draw(rows, total, f"{arguments.name}, {arguments.steps} steps", arguments.output)


if __name__ == "__main__":
    main()
