"""How caffelite shares a machine: beside busy processes and other trainings, on fewer cores than threads.

    python tools/bench_contended.py --nets FOLDER --json contended.json
    python tools/bench_contended.py --trainings
    python tools/bench_contended.py --half --nets FOLDER
    python tools/bench_contended.py --threads

- Without a mode: passes of published nets (one image) by caffelite, ONNX Runtime and OpenVINO, in turns, alone and
  beside a load that is made here: one or two processes that count in Python, or a training of `cifar10_quick`. The
  slowdown is a program's median under the load by its own median alone, in the same run; the worst pass is given by the
  median under the load. A verdict for each net and load holds caffelite's slowdown against the better of the others'.
- ``--trainings``: the speed that each of two trainings at once has of a lone one's.
- ``--half``: the time on half of the cores by the time on all of them, for passes and for training steps.
- ``--threads``: how many times as fast as on one thread a training step is on all.

All programs, and the load that trains, have as many threads as there are cores. ``--before PATH`` times another
checkout of caffelite too, as a program called "before". `tools/bench_infer.py --help` says where nets are published. It
needs Linux, and a quiet machine with two cores or more.
"""

import argparse
import json
import statistics
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from bench_checkouts import TRAINED, training
from contention import CORES, Row, half_of_the_cores, more_threads, passes, two_at_once, verdict
from inference_nets import NETS, Files, prepared, source
from programs import agree, needed
from turns import machine, spread, use_threads
from workers import Load

PEERS = ("ONNX Runtime", "OpenVINO")
#: Busy processes and trainings of each load.
LOADS = {"none": (0, 0), "one busy": (1, 0), "two busy": (2, 0), "training": (0, 1)}
#: What the load that trains trains.
LOAD = "cifar10_quick"
#: The largest worst pass, by the median.
WORST = 5.0
#: Nets whose training is timed in each mode.
TRAININGS = {
    "trainings": ["cifar10_bn", "cifar10_quick", "lenet", "mnist_mlp"],
    "half": ["cifar10_bn", "cifar10_quick", "lenet", "mnist_mlp"],
    "threads": list(TRAINED),
}
#: Seconds of each measurement; at most, where the number of passes is given.
SECONDS = {"loads": 5.0, "trainings": 2.0, "half": 1.0, "threads": 1.0}


def counting() -> Callable[[], None]:
    """Return what keeps one core busy, in slices of a few milliseconds."""

    def slice_of_work() -> None:
        for _ in range(100_000):
            pass

    return slice_of_work


def loaded(net: str, files: Files, loads: Sequence[Load], options: argparse.Namespace) -> list[Row]:
    """Time the programs of a net beside each load, in turns.

    Parameters
    ----------
    loads : sequence of Load
        Two processes that count, one that trains.
    """
    workers = passes(files, options)
    agree(net, *workers.values())
    times: dict[tuple[str, str], list[list[float]]] = {(load, program): [] for load in LOADS for program in workers}
    order = list(workers)
    for _ in range(options.rounds):
        for load, (busy, trainings) in LOADS.items():
            with ExitStack() as stack:
                for process in [*loads[:busy], *loads[2 : 2 + trainings]]:
                    stack.enter_context(process)
                for program in order:
                    taken = workers[program].run(-(-options.passes // options.rounds), options.seconds)
                    times[load, program].append(taken)
        order.append(order.pop(0))  # none always follows the same one
    for worker in workers.values():
        worker.close()
    rows = [loaded_row(net, load, program, times) for load in LOADS for program in workers]
    for row in rows:
        low, high = row["low"], row["high"]
        print(
            f"{net:12s} {row['load']:9s} {row['program']:12s} {row['ms']:8.2f} ms ({low:.2f} to {high:.2f})   "
            f"slowdown {row['slowdown']:.2f}   worst of {row['passes']} {row['worst']:.1f} medians",
            flush=True,
        )
    return rows


def loaded_row(net: str, load: str, program: str, times: dict[tuple[str, str], list[list[float]]]) -> Row:
    rounds = times[load, program]
    every = sum(rounds, [])
    median = statistics.median(every)
    _, low, high = spread([statistics.median(one) for one in rounds])
    return {
        "net": net,
        "load": load,
        "program": program,
        "ms": median * 1e3,
        "low": low * 1e3,
        "high": high * 1e3,
        "slowdown": median / statistics.median(sum(times["none", program], [])),
        "worst": max(every) / median,
        "passes": len(every),
    }


def verdicts(rows: list[Row]) -> list[Row]:
    """Hold caffelite's slowdown by each load of a net against the better of the others', and print it."""
    found = []
    for load in LOADS:
        here = {row["program"]: row for row in rows if row["load"] == load}
        if "caffelite" not in here:
            continue
        own = here["caffelite"]
        one = {"net": own["net"], "load": load, "worst": own["worst"], "worst_holds": own["worst"] <= WORST}
        text = f"worst pass {own['worst']:.1f} medians, at most {WORST:g}: {verdict(own['worst'], WORST)}"
        peers = [here[peer] for peer in PEERS if peer in here]
        if load != "none" and peers:
            best = min(peers, key=lambda row: row["slowdown"])
            one |= {"slowdown": own["slowdown"], "best": best["slowdown"], "best_program": best["program"]}
            one["holds"] = own["slowdown"] <= best["slowdown"]
            text = (
                f"slowdown {own['slowdown']:.2f}, of {best['program']} {best['slowdown']:.2f}: "
                f"{verdict(own['slowdown'], best['slowdown'])}; {text}"
            )
        print(f"{own['net']:12s} {load:9s} {text}", flush=True)
        found.append(one)
    return found


def beside_loads(options: argparse.Namespace) -> dict[str, list[Row]]:
    rows, judgements = [], []
    loads = [Load("a load", counting), Load("a load", counting), Load("the training", training, LOAD)]
    for net, files in prepared(options.sources, 1):
        found = loaded(net, files, loads, options)
        rows += found
        judgements += verdicts(found)
    for load in loads:
        load.close()
    return {"rows": rows, "verdicts": judgements}


MODES = {"loads": beside_loads, "trainings": two_at_once, "half": half_of_the_cores, "threads": more_threads}


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_mutually_exclusive_group()
    for mode, text in (
        ("trainings", "two trainings at once"),
        ("half", "half as many cores as threads"),
        ("threads", "one thread and as many as there are cores"),
    ):
        modes.add_argument(f"--{mode}", dest="mode", action="store_const", const=mode, default="loads", help=text)
    parser.add_argument("names", nargs="*", metavar="NET", help=f"{', '.join(NETS)}; {', '.join(TRAINED)} (all)")
    parser.add_argument("--nets", type=Path, metavar="FOLDER", help="where the repositories of published nets are")
    parser.add_argument("--before", type=Path, metavar="PATH", help="another checkout of caffelite")
    programs = ["caffelite", "before", *PEERS]
    parser.add_argument("--programs", nargs="+", choices=programs, help="all, before where its path is given")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--passes", type=int, default=200, help="of each program beside each load, over all rounds")
    parser.add_argument("--seconds", type=float, help=f"of each measurement; beside loads, at most {SECONDS}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    options = parser.parse_args()
    if len(CORES) < 2:
        parser.error("it needs two cores, and Linux")
    options.seconds = options.seconds or SECONDS[options.mode]
    options.programs = options.programs or [name for name in programs if name != "before" or options.before]
    if "before" in options.programs and options.before is None:
        parser.error("--programs before needs --before PATH")
    if options.before is not None and not (options.before / "caffelite").is_dir():
        parser.error(f"--before: there is no package caffelite in {options.before}")
    try:
        choose_nets(options)
    except ValueError as error:
        parser.error(str(error))
    return options


def choose_nets(options: argparse.Namespace) -> None:
    """Set ``sources``, the prototxts of published nets, and ``trained``, names of nets of ``models/``.

    Raises
    ------
    ValueError
        A net is not known or not there, or a program is not installed.
    """
    published = list(NETS) if options.mode in ("loads", "half") else []
    trained = TRAININGS.get(options.mode, [])
    for name in options.names:
        if name not in (*published, *trained):
            raise ValueError(f"there is no net {name} in this mode, but {', '.join([*published, *trained])}")
    options.trained = [name for name in trained if name in (options.names or trained)]
    options.sources = {}
    chosen = [name for name in published if name in (options.names or published)]
    if chosen:
        if options.nets is None:
            raise ValueError(f"--nets FOLDER has to say where {chosen[0]} is; tools/bench_infer.py --help has more")
        needed(options.programs)
        options.sources = {name: source(options.nets, name) for name in chosen}


def main() -> None:
    options = parsed()
    use_threads(len(CORES))
    found = {"facts": machine(len(CORES)), "mode": options.mode, **MODES[options.mode](options)}
    print(found["facts"])
    if options.json:
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
