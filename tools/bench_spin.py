"""What a bound for waiting threads costs a training that is alone, and what two at once gain by it.

For each bound (``GOMP_SPINCOUNT``: how often a waiting thread of libgomp looks for work before it sleeps; 300,000 is
libgomp's own), a process trains a net on numbers in memory alone, then two do so at once, in turns. Reported are the
median time of a step alone, its ratio to that with the first bound, and the speed that each of the two has of a lone
training's with the same bound; in brackets the smallest and the largest of the rounds. Needs a quiet machine.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import time
from multiprocessing.connection import Connection
from typing import Any

from turns import machine, timed, use_threads

#: Shape of a batch, deviation of its values.
SHAPES = {
    "cifar10_quick": ((100, 3, 32, 32), 60.0),
    "cifar10_bn": ((100, 3, 32, 32), 60.0),
    "lenet": ((64, 1, 28, 28), 0.3),
    "mnist_mlp": ((60, 1, 28, 28), 0.3),
}


def serve(name: str, bound: int, pipe: Connection) -> None:
    """Train for as many seconds as is said; answer how many a step took."""
    os.environ.pop("OMP_WAIT_POLICY", None)
    os.environ["GOMP_SPINCOUNT"] = str(bound)
    from bench_train import caffelite_step

    step = caffelite_step(name, *SHAPES[name])
    timed(step, 5)
    pipe.send(None)
    while seconds := pipe.recv():
        steps, start = 0, time.perf_counter()
        while time.perf_counter() < start + seconds:
            step()
            steps += 1
        pipe.send((time.perf_counter() - start) / steps)


class Pair:
    """Two processes that train the same net with the same bound."""

    def __init__(self, name: str, bound: int) -> None:
        spawn = multiprocessing.get_context("spawn")
        ends = [spawn.Pipe() for _ in range(2)]
        self._pipes = [end for end, _ in ends]
        self._processes = [spawn.Process(target=serve, args=(name, bound, end)) for _, end in ends]
        for process, pipe in zip(self._processes, self._pipes, strict=True):
            process.start()
            pipe.recv()

    def step_seconds(self, processes: int, seconds: float) -> list[float]:
        """Return how long a step takes in each of the processes, which train at once."""
        for pipe in self._pipes[:processes]:
            pipe.send(seconds)
        return [pipe.recv() for pipe in self._pipes[:processes]]

    def end(self) -> None:
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(0)
            process.join()


def measured(name: str, bounds: list[int], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Return a row a bound: median, smallest and largest over the rounds."""
    pairs = {bound: Pair(name, bound) for bound in bounds}
    alone: dict[int, list[float]] = {bound: [] for bound in bounds}
    shares: dict[int, list[float]] = {bound: [] for bound in bounds}
    order = list(bounds)
    for _ in range(rounds):
        for bound in order:
            (lone,) = pairs[bound].step_seconds(1, seconds)
            alone[bound].append(lone)
            shares[bound] += [lone / step for step in pairs[bound].step_seconds(2, seconds)]
        order.append(order.pop(0))  # none always follows the same one
    for pair in pairs.values():
        pair.end()
    rows = []
    for bound in bounds:
        ratios = [own / first for own, first in zip(alone[bound], alone[bounds[0]], strict=True)]
        rows.append(
            {
                "net": name,
                "bound": bound,
                "ms": statistics.median(alone[bound]) * 1e3,
                "ratio": spread(ratios),
                "share": spread(shares[bound]),
            }
        )
    return rows


def spread(values: list[float]) -> tuple[float, float, float]:
    return statistics.median(values), min(values), max(values)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", default=list(SHAPES), help="names of nets (all)")
    parser.add_argument("--bounds", type=int, nargs="+", default=[300_000, 2000, 20_000])
    parser.add_argument("--threads", type=int, default=2, help="of each training")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each measurement")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    use_threads(options.threads)
    rows = []
    for name in options.nets:
        for row in measured(name, options.bounds, options.rounds, options.seconds):
            rows.append(row)
            if not options.json:
                ratio, share = ("{:.2f} ({:.2f} to {:.2f})".format(*row[what]) for what in ("ratio", "share"))
                print(
                    f"{name:14s} bound {row['bound']:7d}   {row['ms']:8.3f} ms   ratio {ratio}   "
                    f"of two at once, each {share}",
                    flush=True,
                )
    facts = machine(options.threads)
    print(json.dumps({"facts": facts, "rows": rows}, indent=1) if options.json else facts)


if __name__ == "__main__":
    main()
