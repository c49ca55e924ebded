"""How a training step grows: with the batch, and with the number of iterations.

Time for each image over batches of `cifar10_bn`, time for an iteration and memory over windows of a long run of
`mnist_mlp_bn`: both flat if nothing is wrong. All on numbers in memory.
"""

import argparse
import json
import multiprocessing
import statistics
import time
from typing import Any

from bench_checkouts import TRAINED
from bench_train import caffelite_step
from turns import machine, memory, timed, use_threads

WINDOWS = 10


def batch(size: int, threads: int) -> float:
    """Return microseconds an image."""
    use_threads(threads)
    shape, deviation = TRAINED["cifar10_bn"]
    step = caffelite_step("cifar10_bn", (size, *shape[1:]), deviation)
    timed(step, 3)
    return statistics.median(timed(step, max(1000 // size, 7))) / size * 1e6


def iterations(many: int, threads: int) -> list[tuple[float, float]]:
    """Return milliseconds an iteration and memory, window by window."""
    use_threads(threads)
    step = caffelite_step("mnist_mlp_bn", *TRAINED["mnist_mlp_bn"])
    timed(step, 10)
    found = []
    for _ in range(WINDOWS):
        start = time.perf_counter()
        for _ in range(many // WINDOWS):
            step()
        found.append(((time.perf_counter() - start) / (many // WINDOWS) * 1e3, memory()))
    return found


def alone(function: Any, *arguments: Any) -> Any:
    """Call a function in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    say = (lambda *text: None) if options.json else print
    found: dict[str, Any] = {"facts": machine(options.threads), "batch": {}, "windows": []}
    for size in (16, 32, 64, 128, 256, 512):
        found["batch"][size] = alone(batch, size, options.threads)
        say(f"cifar10_bn, batch {size:3d}: {found['batch'][size]:.0f} us an image")
    found["windows"] = alone(iterations, options.iterations, options.threads)
    for i, (ms, mib) in enumerate(found["windows"]):
        say(f"mnist_mlp_bn, window {i + 1:2d} of {WINDOWS}: {ms:.3f} ms an iteration, {mib:.1f} MiB")
    if options.json:
        print(json.dumps(found, indent=1))
    else:
        print(found["facts"])


if __name__ == "__main__":
    main()
