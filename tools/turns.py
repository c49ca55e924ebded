"""Programs timed in turns, so that what the machine does meanwhile meets all of them: what the benchmarks share."""

import math
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


def timed(step: Callable[[], Any], steps: int, seconds: float = math.inf) -> list[float]:
    """Return how many seconds each of ``steps`` calls takes; after ``seconds`` no other begins."""
    times = []
    end = time.perf_counter() + seconds
    for _ in range(steps):
        start = time.perf_counter()
        step()
        times.append(time.perf_counter() - start)
        if start + times[-1] > end:
            break
    return times


def spread(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median, the smallest and the largest."""
    return statistics.median(values), min(values), max(values)


@dataclass(frozen=True)
class Result:
    """What one program took.

    Attributes
    ----------
    ms, low, high : float
        Median over all steps; smallest and largest median of a round, milliseconds.
    ratio, ratio_low, ratio_high : float
        The program's time by that of the first one: median, smallest and largest of the rounds.
    """

    ms: float
    low: float
    high: float
    ratio: float
    ratio_low: float
    ratio_high: float

    def __str__(self) -> str:
        return (
            f"{self.ms:8.3f} ms ({self.low:.3f} to {self.high:.3f})   "
            f"ratio {self.ratio:.2f} ({self.ratio_low:.2f} to {self.ratio_high:.2f})"
        )


def in_turns(programs: Mapping[str, Callable[[int], list[float]]], rounds: int, seconds: float) -> dict[str, Result]:
    """Let programs run one after the other, ``rounds`` times, each for about ``seconds`` a round.

    Parameters
    ----------
    programs : mapping of str to callable
        Each does a number of steps and returns what each of them took. The others are compared with the first one.
    rounds : int
    seconds : float
    """
    steps = {}
    for name, run in programs.items():
        run(2)  # compiles, fills caches
        steps[name] = max(int(seconds / statistics.median(run(3))), 3)
    times: dict[str, list[list[float]]] = {name: [] for name in programs}
    order = list(programs)
    for _ in range(rounds):
        for name in order:
            times[name].append(programs[name](steps[name]))
        order.append(order.pop(0))  # none always follows the same one
    medians = {name: [statistics.median(one) for one in found] for name, found in times.items()}
    first = medians[next(iter(programs))]
    results = {}
    for name, found in times.items():
        ratios = [own / base for own, base in zip(medians[name], first, strict=True)]
        results[name] = Result(
            statistics.median(sum(found, [])) * 1e3,
            min(medians[name]) * 1e3,
            max(medians[name]) * 1e3,
            statistics.median(ratios),
            min(ratios),
            max(ratios),
        )
    return results


def _status(field: str) -> float:
    """Return what Linux tells of the memory of this process, MiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def memory() -> float:
    """Return what this process has in memory now, MiB (Linux)."""
    return _status("VmRSS")


def peak_memory() -> float:
    """Return the most memory this process ever had, MiB."""
    try:
        # getrusage starts with what the parent had when it made this process.
        return _status("VmHWM")
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def use_threads(threads: int) -> None:
    """Set the number of threads of caffelite, here and in processes made from here; before it is imported."""
    os.environ["NUMBA_NUM_THREADS"] = str(threads)


def machine(threads: int) -> dict[str, Any]:
    """Return what figures depend on."""
    model = platform.processor()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        model = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return {"processor": model, "cores": os.cpu_count(), "threads": threads, "python": platform.python_version()}
