"""How a training step grows: with the batch, with the number of iterations, and with a second thread.

Time for each image over batches of `cifar10_bn`, time for an iteration and memory over windows of a long run of
`mnist_mlp_bn` (both flat if nothing is wrong), and how many times as fast two threads are as one on the convolution
nets. All on numbers in memory.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from pathlib import Path
from typing import Any

from bench_train import caffelite_step
from turns import machine, timed, use_threads

#: Shape of a batch, deviation of its values.
SHAPES = {
    "cifar10_bn": ((100, 3, 32, 32), 60.0),
    "cifar10_full": ((100, 3, 32, 32), 60.0),
    "cifar10_quick": ((100, 3, 32, 32), 60.0),
    "lenet": ((64, 1, 28, 28), 0.3),
    "mnist_mlp": ((60, 1, 28, 28), 0.3),
    "mnist_mlp_bn": ((60, 1, 28, 28), 0.3),
}
WINDOWS = 10


def memory() -> float:
    """Return what this process has in memory now, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def batch(size: int, threads: int) -> float:
    """Return microseconds an image."""
    use_threads(threads)
    shape, deviation = SHAPES["cifar10_bn"]
    step = caffelite_step("cifar10_bn", (size, *shape[1:]), deviation)
    timed(step, 3)
    return statistics.median(timed(step, max(1000 // size, 7))) / size * 1e6


def iterations(many: int, threads: int) -> list[tuple[float, float]]:
    """Return milliseconds an iteration and memory, window by window."""
    use_threads(threads)
    step = caffelite_step("mnist_mlp_bn", *SHAPES["mnist_mlp_bn"])
    timed(step, 10)
    found = []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(many // WINDOWS):
            step()
        found.append(((time.perf_counter() - start) / (many // WINDOWS) * 1e3, memory()))
    return found


def milliseconds(name: str, threads: int) -> float:
    use_threads(threads)
    step = caffelite_step(name, *SHAPES[name])
    timed(step, 3)
    return statistics.median(timed(step, 15)) * 1e3


def alone(function: Any, *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    say = (lambda *text: None) if options.json else print
    found: dict[str, Any] = {"facts": machine(options.threads), "batch": {}, "windows": [], "threads": {}}
    for size in (16, 32, 64, 128, 256, 512):
        found["batch"][size] = alone(batch, size, options.threads)
        say(f"cifar10_bn, batch {size:3d}: {found['batch'][size]:.0f} us an image")
    found["windows"] = alone(iterations, options.iterations, options.threads)
    for i, (ms, mib) in enumerate(found["windows"]):
        say(f"mnist_mlp_bn, window {i + 1:2d} of {WINDOWS}: {ms:.3f} ms an iteration, {mib:.1f} MiB")
    for name in ("cifar10_bn", "cifar10_full", "cifar10_quick", "lenet"):
        rounds = [[alone(milliseconds, name, threads) for threads in (1, 2)] for _ in range(options.rounds)]
        ratios = sorted(one / two for one, two in rounds)
        found["threads"][name] = {
            "one_ms": statistics.median(r[0] for r in rounds),
            "two_ms": statistics.median(r[1] for r in rounds),
            "ratios": ratios,
        }
        say(
            f"{name:14s} one thread / two threads: {statistics.median(ratios):.2f} "
            f"({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(found["facts"])


if __name__ == "__main__":
    main()
