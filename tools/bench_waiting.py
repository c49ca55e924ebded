"""Ways in which a thread can wait for work: how often it looks and how long it gives way before it sleeps.

For each net and each way: a training step alone, by that in the first way; the speed that each of two trainings at once
has of a lone one's in the same way; the speed beside one busy process. Numbers lie in memory. Needs a quiet machine.

    python tools/bench_waiting.py --nets cifar10_quick mnist_mlp --ways 2000:200 0:0 2000:0 20000:0
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

from bench_checkouts import TRAINED, training
from bench_contended import counting
from turns import machine, spread, timed, use_threads
from workers import Load, Worker

NO_LIMIT = 1_000_000


def waiting(name: str, spins: int, microseconds: int, threads: int) -> Callable[[float], float]:
    """Return what trains for some seconds and answers how many a step took."""
    use_threads(threads)
    from caffelite.kernels.engine.team import TEAM

    step = training(name)
    timed(step, 5)
    TEAM.wait_so(spins, 1000 * microseconds)

    def train(seconds: float) -> float:
        start, steps = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            step()
            steps += 1
        return (time.perf_counter() - start) / steps

    return train


def measured(name: str, ways: list[tuple[int, int]], busy: Load, options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return a row a way: median and spread over the rounds."""
    pairs = {way: [Worker(name, waiting, name, *way, options.threads) for _ in range(2)] for way in ways}
    alone: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    shares: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    beside: dict[tuple[int, int], list[float]] = {way: [] for way in ways}
    order = list(ways)
    for _ in range(options.rounds):
        for way in order:
            first, second = pairs[way]
            lone = first.ask(options.seconds)
            alone[way].append(lone)
            for worker in (first, second):
                worker.send(options.seconds)
            shares[way] += [lone / worker.receive() for worker in (first, second)]
            with busy:
                beside[way].append(lone / first.ask(options.seconds))
        order.append(order.pop(0))  # none always follows the same one
    rows = []
    for way, pair in pairs.items():
        for worker in pair:
            worker.close()
        ratios = [own / base for own, base in zip(alone[way], alone[ways[0]], strict=True)]
        rows.append(
            {
                "net": name,
                "spins": way[0],
                "microseconds": way[1],
                "ms": statistics.median(alone[way]) * 1e3,
                "alone": spread(ratios),
                "two_at_once": spread(shares[way]),
                "one_busy": spread(beside[way]),
            }
        )
        row = rows[-1]
        texts = [f"{key} {row[key][0]:.2f} ({row[key][1]:.2f} to {row[key][2]:.2f})" for key in list(row)[-3:]]
        print(
            f"{name:14s} looks {way[0]:6d}, gives way {way[1]:6d} µs   {row['ms']:7.3f} ms   {'   '.join(texts)}",
            flush=True,
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nets", nargs="+", default=["cifar10_quick", "lenet", "mnist_mlp"], choices=TRAINED)
    parser.add_argument(
        "--ways",
        nargs="+",
        default=["2000:200", "0:0", "2000:0", "2000:1000", "20000:0", "300000:0"],
        metavar="LOOKS:MICROSECONDS",
        help="how often a thread looks, and how long it gives way",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    ways = [(int(spins), int(microseconds)) for spins, microseconds in (way.split(":") for way in options.ways)]
    busy = Load("a load", counting)
    rows = [row for name in options.nets for row in measured(name, ways, busy, options)]
    busy.close()
    facts = machine(options.threads)
    print(facts)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"facts": facts, "rows": rows}, file, indent=1)


if __name__ == "__main__":
    main()
