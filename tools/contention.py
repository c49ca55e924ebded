"""Programs on fewer cores or threads, and two at once: modes of ``tools/bench_contended.py``."""

import argparse
import os
import statistics
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench_checkouts import Steps
from inference_nets import Files, prepared
from programs import Passes
from turns import in_turns, spread

Row = dict[str, Any]

#: The goals: speed of each of two trainings, time on half of the cores, speed-up by threads.
SHARE, HALF, SPEEDUP = 0.47, 2.2, 1.85
NO_LIMIT = sys.maxsize
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


def verdict(value: float, goal: float, most: bool = True) -> str:
    return "holds" if (value <= goal if most else value >= goal) else "misses"


def judged(row: Row, name: str, goal: float, most: bool = True) -> Row:
    """Print a row with a ratio, its spread and what it is held against."""
    middle, low, high = row[name]
    judgement = verdict(middle, goal, most) if row["program"] == "caffelite" else ""
    limit = f"at {'most' if most else 'least'} {goal}: {judgement}" if judgement else ""
    print(
        f"{row['net']:14s} {row['program']:12s} {row['ms']:8.3f} ms   {name} {middle:.2f} ({low:.2f} to {high:.2f})   "
        f"{limit}".rstrip(),
        flush=True,
    )
    return row


def passes(files: Files, options: argparse.Namespace) -> dict[str, Passes]:
    """Start the programs of one net."""
    return {
        program: Passes(
            "caffelite" if program == "before" else program,
            files,
            len(CORES),
            checkout=options.before if program == "before" else None,
        )
        for program in options.programs
    }


def checkouts(options: argparse.Namespace) -> dict[str, Path | None]:
    """Return the programs that train, and where each is; this checkout needs no path."""
    paths = {"caffelite": None, "before": options.before}
    return {program: paths[program] for program in options.programs if program in paths}


def two_at_once(options: argparse.Namespace) -> dict[str, list[Row]]:
    rows = []
    request = NO_LIMIT, options.seconds
    for net in options.trained:
        pairs = {
            program: [Steps(path, "train", net, len(CORES)) for _ in range(2)]
            for program, path in checkouts(options).items()
        }
        alone: dict[str, list[float]] = {program: [] for program in pairs}
        shares: dict[str, list[float]] = {program: [] for program in pairs}
        for worker in sum(pairs.values(), []):
            worker.run(5)  # compiles, fills caches
        for _ in range(options.rounds):
            for program, pair in pairs.items():
                lone = statistics.fmean(pair[0].run(*request))
                alone[program].append(lone)
                for worker in pair:
                    worker.send(request)
                shares[program] += [lone / statistics.fmean(worker.receive()) for worker in pair]
        for program, pair in pairs.items():
            for worker in pair:
                worker.close()
            row = {"net": net, "program": program, "ms": statistics.median(alone[program]) * 1e3}
            rows.append(judged({**row, "share": spread(shares[program])}, "share", SHARE, most=False))
    return {"rows": rows}


def half_of_the_cores(options: argparse.Namespace) -> dict[str, list[Row]]:
    rows = []
    for net, files in prepared(options.sources, 1):
        rows += halved(net, passes(files, options), options)
    for net in options.trained:
        workers = {program: Steps(path, "train", net, len(CORES)) for program, path in checkouts(options).items()}
        rows += halved(net, workers, options)
    return {"rows": rows}


def halved(net: str, workers: Mapping[str, Passes | Steps], options: argparse.Namespace) -> list[Row]:
    medians: dict[str, list[tuple[float, ...]]] = {program: [] for program in workers}
    for worker in workers.values():
        worker.run(3)  # compiles, fills caches, starts all threads on all cores
    for _ in range(options.rounds):
        for program, worker in workers.items():
            pair = []
            for cores in (CORES, CORES[: len(CORES) // 2]):
                worker.confine(set(cores))
                pair.append(statistics.median(worker.run(NO_LIMIT, options.seconds)))
            medians[program].append(tuple(pair))
    rows = []
    for program, worker in workers.items():
        worker.close()
        ms = statistics.median(whole for whole, _ in medians[program]) * 1e3
        ratios = spread([half / whole for whole, half in medians[program]])
        rows.append(judged({"net": net, "program": program, "ms": ms, "ratio": ratios}, "ratio", HALF))
    return rows


def more_threads(options: argparse.Namespace) -> dict[str, list[Row]]:
    rows = []
    for net in options.trained:
        for program, path in checkouts(options).items():
            workers = {str(threads): Steps(path, "train", net, threads) for threads in (len(CORES), 1)}
            found = in_turns({name: worker.run for name, worker in workers.items()}, options.rounds, options.seconds)
            for worker in workers.values():
                worker.close()
            every, one = found.values()
            speedup = one.ratio, one.ratio_low, one.ratio_high
            row = {"net": net, "program": program, "ms": every.ms, "one_thread_ms": one.ms, "speedup": speedup}
            rows.append(judged(row, "speedup", SPEEDUP, most=False))
    return {"rows": rows}
